"A table and a bar, in lines and on a page"
import io, sys
from types import SimpleNamespace
import pytest
from miniai.tools import page as mp
from miniai.tools.page import Page, bar, in_notebook


class Terminal(io.StringIO):
    def isatty(self): return True


def test_a_table_is_lines_elsewhere_with_its_titles_once(capsys):
    page = Page()
    page.add(['loss', 'epoch'], ['0.5', '0'])
    page.add(['loss', 'epoch'], ['0.25', '1'])
    page.add(['other'], ['1'])
    assert capsys.readouterr().out.splitlines() == ['   loss    epoch', '    0.5        0',
                                                    '   0.25        1', '  other',
                                                    '      1']
    assert not in_notebook() and page.handle is None


def test_in_a_file_there_is_no_bar(capsys):
    page = Page()
    assert list(bar(range(3), 'three', page)) == [0, 1, 2]
    assert capsys.readouterr() == ('', '')


def test_on_a_terminal_there_is_one(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, 'stderr', terminal)
    page = Page()
    for i in bar(range(3), 'three', page): page.add(['i'], [str(i)])
    assert 'three' in terminal.getvalue()


@pytest.fixture
def notebook(monkeypatch):
    "What a kernel shows: the texts that its one output had"
    shown = []
    handle = SimpleNamespace(update=shown.append)
    def page():
        p = object.__new__(Page)
        p.head,p.rows,p.bars,p.handle,p.html = [],[],{},handle,str
        return p
    monkeypatch.setattr(mp, 'in_notebook', lambda: True)
    return page(),shown


def test_a_notebook_has_table_and_bars_in_one_output(notebook, capsys):
    page,shown = notebook
    steps = bar(range(4), 'batch', page)
    for i in steps:
        steps.set_postfix_str(f'loss {i}')
        if i == 1: page.add(['a<b'], ['1'])
    steps.close()
    assert 'a&lt;b' in shown[-1] and '<pre' not in shown[-1]  # a bar that is done leaves nothing
    assert any('<pre' in s and 'loss 3' in s for s in shown) and '\x1b' not in ''.join(shown)
    assert capsys.readouterr() == ('', '')
    page.add(['a<b'], ['2'])
    assert shown[-1].count('<tr>') == 3 and shown[-1].count('<th') == 1
