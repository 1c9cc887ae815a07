"""Make the book: a page for each lesson and tool and a table of contents, to be read without a network.

    python tests/book.py [FOLDER]        (`make book` calls it; FOLDER is book)

Nothing is run: the pages show what the notebooks hold. nbconvert's renderer writes the text and its filters
the colours; book.html and book.css, beside this file, are the page. A formula becomes MathML, which browsers
draw by themselves, and a picture is inside its page: whoever reads asks nobody for anything.
"""
import base64, re, sys
from collections import Counter
from pathlib import Path
import jinja2, nbformat
from latex2mathml.converter import convert
from markupsafe import Markup
from nbconvert.filters import Highlight2HTML, ansi2html
from nbconvert.filters.markdown_mistune import InvalidNotebook, IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from pygments.formatters import HtmlFormatter

HERE = Path(__file__).parent
ROOT = HERE.parent
NAME = re.compile(r'(?<![\w/.])(?:\d\d_[a-z]+|tools/[a-z]+)\b(?!\.\w)')  # of a lesson or a tool
LEFT_ALONE = re.compile(r'(<a\b.*?</a>|<pre\b.*?</pre>|<math\b.*?</math>|<[^>]*>)', re.S)
RICHEST = 'text/html', 'text/markdown', 'image/svg+xml', 'image/png', 'image/jpeg', 'text/plain'
color,whole_streams = Highlight2HTML(pygments_lexer='python3'),CoalesceStreamsPreprocessor()


class Slip(Exception):
    "What is wrong with a notebook or a folder, in a sentence"


def formula(tex, display):
    "A formula as MathML"
    try: found = convert(tex.strip(), display=display)
    except Exception as e: raise Slip(f'the formula {tex!r}: {type(e).__name__} {e}') from None
    unknown = re.search(r'\\\w*', found)
    if unknown: raise Slip(f'the formula {tex!r}: {unknown[0]} is not known')
    # without a font for mathematics the bar of a root would lie on its n, which then looks like a pi
    found = found.replace('<msqrt>', '<msqrt><mspace height="0.8em"></mspace>')
    return found.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', '')  # HTML needs none


class Prose(IPythonRenderer):
    "The text of a notebook as HTML"
    def table(self, text): return f'<div class="wide"><table>{text}</table></div>'
    def inline_math(self, body): return formula(body, 'inline')
    def block_math(self, body): return f'<span class="wide formula">{formula(body, "block")}</span>'
    def latex_environment(self, name, body): return self.block_math(rf'\begin{{{name}}}{body}\end{{{name}}}')

    def link(self, text, url, title=None):
        "A link to a notebook leads to its page"
        if not re.match(r'\w+:', url): url = re.sub(r'\.ipynb(?=$|#)', '.html', url)
        return super().link(text, url, title)


class Page:
    "What book.html asks for when it writes the page of a notebook"
    def __init__(self, path, name, names):
        from tests.readme import about
        try: self.cells = whole_streams.preprocess(nbformat.read(path, as_version=4), {})[0].cells
        except Exception as e: raise Slip(f'this is not a notebook: {type(e).__name__} {e}') from None
        self.promise,_,self.minutes = about(path)
        self.path,self.name,self.names = path,name,names
        self.url,self.home = f'{name}.html','../'*name.count('/')
        title = re.search(r'^# (.+)', self.cells[0].source if self.cells else '', re.M)
        self.title = title[1] if title else path.stem
        code = [c for c in self.cells if c.cell_type == 'code']
        self.has_run = not code or any(c.execution_count for c in code)

    def shown(self):
        for cell in self.cells:
            if cell.source.strip() and not re.search(r'^#\| *hide\b', cell.source, re.M): yield cell

    def text(self, source, attachments=None):
        prose = Prose(escape=False, embed_images=True, path=str(self.path.parent), attachments=attachments)
        html = MarkdownWithMath(renderer=prose).render(source)
        for src in re.findall(r'<img\b[^>]*\bsrc="(?!data:)([^"]*)', html):
            raise Slip(f'there is no picture {src} beside the notebook (and none is fetched from the web)')
        return Markup(self.with_links(html))

    def with_links(self, html):
        "The names of lessons in a text lead to their pages, where they are not part of a link"
        def link(m): return f'<a href="{self.home}{m[0]}.html">{m[0]}</a>' if m[0] in self.names else m[0]
        pieces = LEFT_ALONE.split(html)  # every second one is a tag, or is left alone
        return ''.join(p if i % 2 else NAME.sub(link, p) for i,p in enumerate(pieces))

    def code(self, cell): return Markup(color(cell.source))
    def folded(self, cell): return cell.metadata.get('jupyter', {}).get('source_hidden', False)

    def output(self, out):
        "An output in the richest form that needs no script"
        def pre(text, kind='plain'): return Markup(f'<pre class="{kind}">{ansi2html(text)}</pre>')
        if out.output_type == 'stream': return pre(out.text, out.name)
        if out.output_type == 'error': return pre('\n'.join(out.traceback), 'stderr')
        usable = [kind for kind in RICHEST if kind in out.data and '<script' not in out.data[kind]]
        if not usable: return ''
        data = out.data[usable[0]]
        if usable[0] == 'text/html': return Markup(data)
        if usable[0] == 'text/plain': return pre(data)
        if usable[0] == 'text/markdown': return self.text(data)
        if usable[0] == 'image/svg+xml': data = base64.b64encode(data.encode()).decode()
        return Markup(f'<img src="data:{usable[0]};base64,{data.strip()}" alt="what the code above draws">')


def distinct(html):
    "A heading that says what one before it said gets an anchor of its own"
    seen = Counter()
    def numbered(m):
        seen[m[2]] += 1
        anchor = m[2] if seen[m[2]] == 1 else f'{m[2]}-{seen[m[2]]}'
        return f'{m[1]}{anchor}{m[3]}{anchor}"'
    return re.sub(r'(<h[1-6] id=")([^"]*)(">.*?href="#)\2"', numbered, html, flags=re.S)


def sections(html):
    "The headings in a page, each with its anchor"
    found = re.findall(r'<h2 id="(.*?)">(.*?)<a class="anchor-link"', html, re.S)
    return [(Markup(anchor), Markup(text)) for anchor,text in found]


def style():
    "The style sheet: book.css, then pygments' colours for a bright page and for a dark one"
    bright,dark = (HtmlFormatter(style=s).get_style_defs('.highlight') for s in ('default', 'github-dark'))
    own = (HERE/'book.css').read_text(encoding='utf-8')
    return f'{own}\n{bright}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n'


def make_book(folder, nbs=ROOT/'nbs'):
    "Write a page for each notebook in `nbs`, the contents as index.html, and the style sheet; give the pages"
    from tests.readme import parts
    named = [(part, {path.relative_to(nbs).with_suffix('').as_posix(): path for path in paths})
             for part,paths in parts(nbs)]
    names = [name for _,some in named for name in some]
    if not names: raise Slip(f'there are no lessons in {nbs}: they are named as 01_pixels.ipynb is')
    def write(name, text): (folder/name).write_text(text, encoding='utf-8')
    (folder/'tools').mkdir(parents=True, exist_ok=True)
    write('book.css', style())
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        (HERE/'book.html').read_text(encoding='utf-8'))
    def page(name, path):
        try:
            made = Page(path, name, names)
            made.html = Markup(distinct(template.render(page=made, body=True)))
            return made
        except (Slip, InvalidNotebook) as e: raise Slip(f'{path}: {e}') from None
    contents = [(part, [page(*item) for item in some.items()]) for part,some in named]
    pages = [p for _,some in contents for p in some]
    write('index.html', template.render(contents=contents))
    for before,p,after in zip([None, *pages], pages, [*pages[1:], None]):
        write(p.url, template.render(page=p, before=before, after=after, sections=sections(p.html)))
    return pages


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT/'book')
    try: made = make_book(folder)
    except Slip as e: sys.exit(f'No book: {e}')
    except OSError as e: sys.exit(f'No book: {e.filename}: {e.strerror}')
    print(f'{len(made)} pages: open {folder.absolute()/"index.html"} in a browser')
