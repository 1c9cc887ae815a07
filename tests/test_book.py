"The book: its pages on small notebooks; all of it in a browser without a network"
import base64, importlib.util, re, subprocess, sys
from collections import Counter
from html.parser import HTMLParser
import nbformat, pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from tests import readme
from tests.conftest import CHROMIUM, LESSONS, ROOT, TOOLS, cells

if not importlib.util.find_spec('latex2mathml'):
    pytest.skip("not installed: latex2mathml (pip install -e '.[dev]')", allow_module_level=True)
from tests import book

PNG = base64.b64encode(bytes.fromhex(  # one grey pixel
    '89504e470d0a1a0a0000000d4948445200000001000000010800000000'
    '3a7e9b550000000a49444154789c6368000000820081dd436af40000000049454e44ae426082')).decode()


def write(path, *content):
    "A notebook of texts, and of code as (source, outputs, metadata)"
    def cell(it):
        if isinstance(it, str): return new_markdown_cell(it)
        source,outputs,metadata = *it, *([], {})[len(it)-1:]
        return new_code_cell(source, outputs=outputs, metadata=metadata, execution_count=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[cell(it) for it in content]), path)
    return path


def result(**data): return new_output('display_data', {k.replace('_', '/'): v for k,v in data.items()})


def made(tmp_path, *content):
    "The page of a lesson with this content, as HTML"
    write(tmp_path/'nbs/02_two.ipynb', '# Two\n\n> *A promise.*', *content)
    write(tmp_path/'nbs/01_one.ipynb', '# One')
    write(tmp_path/'nbs/tools/files.ipynb', '# Files')
    book.make_book(tmp_path/'book', tmp_path/'nbs')
    return (tmp_path/'book/02_two.html').read_text(encoding='utf-8')


class Links(HTMLParser):
    "What a page leads to, what it asks for, and the places in it"
    def __init__(self, text):
        super().__init__()
        self.hrefs,self.asked,self.ids,self.steps = [],[],[],{}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == 'a': self.hrefs.append(attrs['href'])
        elif 'href' in attrs: self.asked.append(attrs['href'])
        if 'src' in attrs: self.asked.append(attrs['src'])
        if attrs.get('id'): self.ids.append(attrs['id'])
        if attrs.get('rel') in ('prev', 'next'): self.steps.setdefault(attrs['rel'], attrs['href'])


def pages_in(folder):
    return {p.relative_to(folder).as_posix(): Links(p.read_text(encoding='utf-8'))
            for p in folder.rglob('*.html')}


def check_links(folder):
    "Each link on each page leads to a page and a place that exist; pages ask for the style sheet alone"
    pages = pages_in(folder)
    for name,page in pages.items():
        assert not [n for n,k in Counter(page.ids).items() if k > 1], f'{name}: two places of one name'
        up = '../'*name.count('/')
        assert [a for a in page.asked if not a.startswith('data:')] == [f'{up}book.css'], name
        for href in page.hrefs:
            if re.match('https?:', href): continue
            file,_,place = href.partition('#')
            target = (folder/name).parent/file if file else folder/name
            assert target.is_file(), f'{name}: {href}'
            found = pages[target.resolve().relative_to(folder.resolve()).as_posix()]
            assert not place or place in found.ids, f'{name}: {href}'
    return pages


def check_order(folder, names):
    "From page to page by `next`, and back again by `prev`, beginning and ending at the contents"
    pages = pages_in(folder)
    def walk(start, rel):
        at = start
        while at != 'index.html':
            yield at
            target = ((folder/at).parent/pages[at].steps[rel]).resolve()
            at = target.relative_to(folder.resolve()).as_posix()
    assert list(walk(names[0], 'next')) == names and list(walk(names[-1], 'prev')) == names[::-1]
    assert [h for h in pages['index.html'].hrefs] == names
    assert set(pages) == {'index.html', *names}


# ---- one page ----------------------------------------------------------------------------------------------

def test_the_pages_stand_in_order(tmp_path):
    made(tmp_path)
    check_order(tmp_path/'book', ['01_one.html', '02_two.html', 'tools/files.html'])
    contents = (tmp_path/'book/index.html').read_text(encoding='utf-8')
    said = 'Part 1. A training loop from nothing','Tools: general things','A promise.','Two</span>','1 min'
    assert all(text in contents for text in said)


def test_notebooks_and_names_of_lessons_are_links_to_pages(tmp_path):
    html = made(tmp_path, 'As in 01_one, `01_one` and *01_one or 02_two*, tools/files: '
                '[01_one](01_one.ipynb#One), [files](tools/files.ipynb), '
                '[home](https://example.org/a.ipynb), nbs/01_one.ipynb, 03_three.',
                '```\n01_one\n```')
    hrefs = Counter(check_links(tmp_path/'book')['02_two.html'].hrefs)
    assert hrefs['01_one.html'] == 3 + 2, 'three in the text, two steps'
    assert (hrefs['01_one.html#One'], hrefs['https://example.org/a.ipynb'], hrefs['02_two.html']) == (1, 1, 1)
    assert hrefs['tools/files.html'] == 2 + 2 and '<a' not in re.search('<pre>.*?</pre>', html, re.S)[0]
    assert not [h for h in hrefs if '03' in h]


def test_headings_that_say_the_same_are_two_places(tmp_path):
    made(tmp_path, '## Two', '## Two <em>or</em> three', '## Two')
    page = check_links(tmp_path/'book')['02_two.html']
    assert page.ids == ['Two', 'Two-2', 'Two-or-three', 'Two-3']
    assert [h for h in page.hrefs if h.startswith('#Two')][:3] == ['#Two-2', '#Two-or-three', '#Two-3']


def test_formulas_are_mathml(tmp_path):
    html = made(tmp_path, r'The slope $\frac{\partial u}{\partial w}$ of `$HOME`, and' '\n\n'
                r'$$\begin{cases} 1 & u > 0 \\ 0 & \text{else} \end{cases}$$',
                r'## Why $\lambda$ & <em>so</em>?' '\n\n' r'$\sqrt n$' '\n\n'
                r'\begin{pmatrix} a & b \end{pmatrix}')
    assert html.count('<math') == 5 + 1, 'a heading stands in the list of headings, too'
    check_links(tmp_path/'book')
    assert '<msqrt><mspace height="0.8em"></mspace><mi>n</mi></msqrt>' in html, 'its bar is above the n'
    assert '<mfrac>' in html and '$HOME' in html
    assert not re.search(r'\$(?!HOME)|\\[a-z]', html)


@pytest.mark.parametrize('tex, said', [(r'\fraq{1}{2}', r'\fraq is not known'), (r'\left( x', 'the formula')])
def test_a_formula_that_is_none_is_said(tmp_path, tex, said):
    with pytest.raises(book.Slip) as slip: made(tmp_path, f'Here ${tex}$.')
    assert '02_two.ipynb: the formula' in str(slip.value) and said in str(slip.value)


def test_pictures_are_in_the_page(tmp_path):
    write(tmp_path/'nbs/pictures/of_it.txt')  # makes the folder
    (tmp_path/'nbs/pictures/it.png').write_bytes(base64.b64decode(PNG))
    made(tmp_path, '![it](pictures/it.png) and <img src="pictures/it.png">')
    path = tmp_path/'nbs/03_three.ipynb'
    cell = new_markdown_cell('![kept](attachment:kept.png)', attachments={'kept.png': {'image/png': PNG}})
    nbformat.write(new_notebook(cells=[cell]), path)
    book.make_book(tmp_path/'book', tmp_path/'nbs')
    for name,count in ('02_two',2),('03_three',1):
        html = (tmp_path/f'book/{name}.html').read_text(encoding='utf-8')
        assert html.count(f'src="data:image/png;base64,{PNG}"') == count


@pytest.mark.parametrize('text', ['![](gone.png)', '![](https://example.org/a.png)', '<img src="gone.png">',
                                  '![](attachment:gone.png)', '![](../secret.png)'])
def test_a_picture_that_is_not_there_is_said(tmp_path, text):
    with pytest.raises(book.Slip, match=r'02_two\.ipynb: .*(gone|example|secret)'): made(tmp_path, text)


def test_code_is_coloured_folded_or_left_out(tmp_path):
    fold = {'jupyter': {'source_hidden': True}}
    html = made(tmp_path, ('#| export\nimport os  # why', ), ('#| hide\nsecret = 1',), ('',),
                ('a = 1\nb = 2', [result(text_plain='folded, but shown')], fold))
    assert '<span class="kn">import</span>' in html and '#| export' in html, 'the lessons speak of the mark'
    assert 'secret' not in html and html.count('highlight hl-') == 2
    fold = re.search('<details class="folded">(.*?)</details>', html, re.S)[1]
    assert '2 lines' in fold and 'highlight hl-' in fold
    assert html.index('folded, but shown') > html.index('</details>', html.index(fold))


def test_outputs_are_shown_as_they_are_stored(tmp_path):
    stream = new_output('stream', text='\x1b[31mred\x1b[0m <b>')
    failed = new_output('error', ename='E', evalue='v', traceback=['Trace \x1b[32mback'])
    html = made(tmp_path, ('1', [
        stream, failed, result(text_html='<table><td>9', text_plain='no'),
        result(image_png=PNG, text_plain='no'), result(text_markdown='**in** $x$'),
        result(text_html='<script>alert(1)</script>', text_plain='Button()'),
        result(**{'image_svg+xml': '<svg/>'}), result(application_json='{}')]))
    for said in ('<span class="ansi-red-fg">red</span> &lt;b&gt;', 'Trace <span class="ansi-green-fg">back',
                 '<td>9', PNG, 'Button()', '<strong>in</strong> <math', 'data:image/svg+xml;base64,PHN2Zy8+'):
        assert said in html
    assert '>no<' not in html and '<script' not in html


def test_what_was_printed_piece_by_piece_is_one_piece(tmp_path):
    pieces = [new_output('stream', text=text) for text in ('one\n', 'two\n')]
    assert '<pre class="stdout">one\ntwo\n</pre>' in made(tmp_path, ('1', pieces))


def test_a_notebook_that_was_not_run_says_so(tmp_path):
    said = 'holds no outputs'
    assert said not in made(tmp_path, ('1',)) and said not in made(tmp_path, 'Text alone.')
    nb = new_notebook(cells=[new_markdown_cell('# Two'), new_code_cell('1')])
    nbformat.write(nb, tmp_path/'nbs/02_two.ipynb')
    book.make_book(tmp_path/'book', tmp_path/'nbs')
    assert said in (tmp_path/'book/02_two.html').read_text(encoding='utf-8')


# ---- bad input ---------------------------------------------------------------------------------------------

def test_a_folder_without_lessons_is_said(tmp_path):
    with pytest.raises(book.Slip, match='there are no lessons in .*nbs'):
        book.make_book(tmp_path/'book', tmp_path/'nbs')


@pytest.mark.parametrize('text', ['', 'no json', '[]', '{}', '{"nbformat": 4, "cells": 3}'])
def test_what_is_not_a_notebook_is_said(tmp_path, text):
    (tmp_path/'01_one.ipynb').write_text(text)
    with pytest.raises(book.Slip, match=r'01_one\.ipynb: this is not a notebook'):
        book.make_book(tmp_path/'book', tmp_path)


def test_a_folder_that_can_not_be_written_is_said(tmp_path):
    (tmp_path/'file').touch()
    command = [sys.executable, ROOT/'tests/book.py', tmp_path/'file/book']
    res = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert res.returncode == 1 and res.stderr.count('\n') == 1
    assert res.stderr.startswith(f'No book: {tmp_path}/file/book') and 'Not a directory' in res.stderr


# ---- the lessons -------------------------------------------------------------------------------------------

def test_each_text_of_the_lessons_can_be_rendered():
    "Formulas that are known, pictures that are there"
    names = [p.relative_to(ROOT/'nbs').with_suffix('').as_posix() for p in LESSONS + TOOLS]
    for path,name in zip(LESSONS + TOOLS, names):
        page = book.Page(path, name, names)
        for cell in page.shown():
            if cell.cell_type == 'markdown': page.text(cell.source, cell.get('attachments'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('the')/'book'
    book.make_book(folder)
    return folder


NAMES = [f"{p.relative_to(ROOT/'nbs').with_suffix('').as_posix()}.html" for p in LESSONS + TOOLS]
needs_browser = pytest.mark.skipif(not CHROMIUM or not importlib.util.find_spec('playwright'),
                                   reason='needs playwright and chromium (apt-get install chromium)')
TEXT = '''() => {  // what is left of the page without its code
    const copy = document.querySelector('main').cloneNode(true)
    copy.querySelectorAll('pre, code, .output').forEach(it => it.remove())
    return copy.textContent
}'''
SIZES = "[...document.querySelectorAll('main math')].map(m => m.getBoundingClientRect().width)"


@pytest.mark.long
def test_the_book_is_whole(folder):
    check_order(folder, NAMES)
    check_links(folder)
    contents = (folder/'index.html').read_text(encoding='utf-8')
    for path in LESSONS + TOOLS:
        promise,_,minutes = readme.about(path)
        assert f'{minutes} min' in contents


def formulas(path):
    "How many a notebook has, by a plain look at it"
    text = '\n\n'.join(''.join(c['source']) for c in cells(path) if c['cell_type'] == 'markdown')
    return len(re.findall(r'\$\$.+?\$\$|\$[^$]+\$', re.sub(r'```.*?```|`[^`]*`', '', text, flags=re.S), re.S))


@pytest.fixture
def faults(page):
    "A function of a file: opens it, wide and bright, then narrow and dark, and gives what is wrong with it"
    page.context.set_offline(True)
    found = []
    page.on('console', lambda message: found.append(f'the console says {message.text}'))
    page.on('pageerror', lambda error: found.append(f'an error: {error}'))
    page.on('request', lambda r: r.url.startswith(('file:', 'data:')) or found.append(f'asks for {r.url}'))
    page.on('requestfailed', lambda r: found.append(f'does not get {r.url}'))
    def look(path):
        found.clear()
        page.goto(path.as_uri())
        for width,scheme in (1400, 'light'),(390, 'dark'):
            page.set_viewport_size(dict(width=width, height=844))
            page.emulate_media(color_scheme=scheme)
            wide = page.evaluate('document.documentElement.scrollWidth')
            if wide > width: found.append(f'{wide} pixels wide in a window of {width}')
        if not page.evaluate('[...document.images].every(im => im.complete && im.naturalWidth > 0)'):
            found.append('a picture is missing')
        left = re.search(r'\$.*|\\[a-zA-Z]+.*', page.evaluate(TEXT))
        if left: found.append(f'not drawn: {left[0]}')
        if not all(width > 3 for width in page.evaluate(SIZES)): found.append('an empty formula')
        return list(found)
    return look


@pytest.mark.long
@needs_browser
@pytest.mark.parametrize('some', range(4))  # a quarter of the pages each
def test_every_page_in_a_browser(folder, page, faults, some):
    assert faults(folder/'index.html') == []
    for name,path in list(zip(NAMES, LESSONS + TOOLS))[some::4]:
        assert (name, faults(folder/name)) == (name, [])
        assert len(page.evaluate(SIZES)) == formulas(path), name
        folds = page.locator('details.folded')
        folded = [c for c in cells(path) if c['metadata'].get('jupyter', {}).get('source_hidden')]
        assert folds.count() == len(folded), name
        for fold in folds.all():
            assert not fold.locator('pre').is_visible()
            fold.locator('summary').click()
            assert fold.locator('pre').is_visible()


BAD = {'<img src="gone.png">': 'does not get .*gone.png', '<img src="data:,">': 'a picture is missing',
       '<script src="https://example.org/a.js"></script>': 'asks for https://example.org/a.js',
       '<script>gone()</script>': 'an error: gone is not defined', 'so $x^2$': r'not drawn: \$x',
       r'so \frac{1}{2}': r'not drawn: \\frac', '<p style="width: 500px">wide</p>': 'in a window of 390',
       '<math></math>': 'an empty formula'}


@pytest.mark.long
@needs_browser
def test_the_browser_sees_what_it_looks_for(tmp_path, faults):
    path = tmp_path/'a.html'
    for bad,said in ({'<img src="data:image/png;base64,' + PNG + '"><code>$x</code>': None} | BAD).items():
        path.write_text(f'<!DOCTYPE html><link rel="icon" href="data:,"><main>{bad}</main>', encoding='utf-8')
        found = faults(path)
        assert any(re.search(said, fault) for fault in found) if said else found == [], (bad, found)
