"Errors that say what to do"
import pytest, torch, torch.nn.functional as F
from miniai.tools.slips import (as_loaders, batches, by_name, call_all, check_callback, check_parts,
                                check_whole, explained_call, explained_loss, is_integer, kind, kinds, near,
                                pick_loss, who_resumes)


def test_words_for_things():
    assert kind(torch.zeros(2, 3)) == '(2, 3) float32' and kind([1]) == 'list'
    assert kinds(torch.zeros(2), ()) == 'predictions (2,) float32 and targets (none)'
    assert near('lss', ['loss', 'model']) == ': did you mean loss?' and near('xyz', ['loss']) == ''
    assert is_integer(torch.tensor(True)) and not is_integer(torch.zeros(1)) and not is_integer(1)


@pytest.mark.parametrize('n', [-1, 1.5, '2', True, None])
def test_whole_numbers(n):
    with pytest.raises(ValueError, match='n must be a whole number from 0 on, got'): check_whole('n', n)
    check_whole('n', 0)
    with pytest.raises(ValueError, match='from 1 on, got 0'): check_whole('n', 0, 1)


def test_all_are_called_and_the_first_error_comes_out():
    called = []
    def fails(x): raise KeyError(x)
    def fails_too(x): raise OSError(x)
    with pytest.raises(KeyError, match='7'): call_all([fails, called.append, fails_too, called.append], 7)
    assert called == [7, 7]


def test_callbacks_by_name():
    class EarlyBirdCB:
        def before_fit(self, learn): pass
    class RNNCheckCB(EarlyBirdCB): pass
    bird,other = EarlyBirdCB(),RNNCheckCB()
    assert by_name([bird, other]) == dict(early_bird=bird,
                                          rnncheck=other) and by_name([bird, EarlyBirdCB()]) == {}
    assert check_callback(bird, ['before_fit']) is bird


def test_a_name_that_is_near_to_nothing():
    class Odd:
        def after_xyz(self): pass
    with pytest.raises(ValueError, match='Odd.after_xyz is not an event. The events are before_fit'):
        check_callback(Odd(), ['before_fit'])


def test_who_resumes():
    class Can:
        def resume(self, learn): pass
    can = Can()
    assert who_resumes([1, can]) is can
    for cbs in ([], [can, can]):
        with pytest.raises(ValueError,
                           match=f'needs one CheckpointCB in cbs, there are {len(cbs)}'): who_resumes(cbs)


def test_loaders_and_their_batches():
    assert as_loaders(((0,), None)).train == (0,) and as_loaders((0,)).valid is None
    assert list(batches([1, 2], 'training')) == [1, 2] and list(batches([], 'training', done=3)) == []
    with pytest.raises(ValueError, match='the test loader gave no batch'): list(batches([], 'test'))


def test_a_list_of_loaders_is_a_pair_and_a_list_of_batches_is_not():
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(2)))
    for given in ([loader, loader], (loader, loader)): assert as_loaders(given).valid is loader
    assert as_loaders([loader]).valid is None
    for given in ([(1, 2), (3, 4)], [], [torch.zeros(1)]): assert as_loaders(given).train is given


@pytest.mark.parametrize('parts,words', [
    ((torch.nn.Linear, None, None), r'model is a class: make an object of it, Linear\(…\)'),
    ((None, torch.nn.CrossEntropyLoss, None), 'loss_func is a class: make an object of it, Cross'),
    ((None, None, torch.optim.SGD([torch.zeros(1)])), 'this SGD is already made: pass SGD itself')])
def test_classes_and_objects_in_each_others_place(parts, words):
    with pytest.raises(TypeError, match=words): check_parts(*parts)
    check_parts(torch.nn.Linear(1, 1), 'model', torch.optim.SGD)
    check_parts(print, F.mse_loss, None)


def test_a_tensor_for_loaders():
    assert as_loaders(torch.zeros(3)).valid is None  # once: its truth is ambiguous


def test_only_a_key_too_many_is_explained():
    def model(a, b=1): return a + b
    assert explained_call(model, (1,), {}) == 2 and explained_call(model, (), dict(a=1, b=2)) == 3
    with pytest.raises(TypeError, match="unexpected keyword argument 'c'") as e:
        explained_call(model, (), dict(a=1, c=2))
    assert 'was given a, c' in e.value.__notes__[0]
    for args,kwargs in (((), {}), ((), dict(a='x'))):
        with pytest.raises(TypeError) as e: explained_call(model, args, kwargs)
        assert not hasattr(e.value, '__notes__')


def test_losses(capsys):
    assert pick_loss(torch.zeros(3, 2), [torch.zeros(3).long()]) is F.cross_entropy
    assert 'loss_func: cross_entropy' in capsys.readouterr().out
    labels = torch.tensor([[1., 0.], [0., 0.], [1., 1.]])  # several at once
    for preds,targ,want in ((torch.zeros(3, 2), labels, F.binary_cross_entropy_with_logits),
                            (torch.zeros(3), labels[:,0], F.binary_cross_entropy_with_logits),
                            (torch.zeros(3, 2), labels*2, F.mse_loss),
                            (torch.zeros(3, 2), torch.zeros(3, 2), F.mse_loss)):
        assert pick_loss(preds, [targ]) is want
    with pytest.raises(ValueError, match="can't pick a loss"):  # one number is no score for each class
        pick_loss(torch.zeros(3, 1), [torch.zeros(3).long()])
    with pytest.raises(TypeError, match='for classes pass'):
        explained_loss(F.mse_loss, torch.zeros(3), [torch.zeros(3).long()], 0)
    assert explained_loss(F.mse_loss, torch.zeros(3), [torch.ones(3)], 0) == 1
