"Two networks in one Learner: equal to the loop by hand, with all that a Learner can do, or refused by name"
import copy
from functools import partial
import pytest, torch, torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn
from miniai.gan import GAN, GANCB, CriticLoss, GeneratorLoss
from miniai.init import BatchNorm
from miniai.layers import Dropout, Linear, Module, ReLU, Sequential
from miniai.learner import (AccumulateCB, Callback, CheckpointCB, ClipGradCB, DeviceCB,
                            EarlyStoppingCB, EMACB, Learner, MetricsCB, MomentumLearner, NaNStopCB,
                            ProgressCB, ReplayCB, SaveBestCB, SingleBatchCB, TrainCB, TrainLearner, freeze,
                            param_groups)
from miniai.losses import bce_with_logits
from miniai.optim import SGD, Adam, AdamW
from miniai.sched import BatchSchedCB, EpochSchedCB, OneCycle
from miniai.tools.chance import mix
from tests.small import Dls, Quiet, Stranger

NOISE,SHAPE = 5,(1, 4, 4)
bce = F.binary_cross_entropy_with_logits


class Shaped(Module):
    def forward(self, x): return x.view(len(x), *SHAPE)


class Flat(Module):
    def forward(self, x): return x.flatten(1)


def nets(kind='theirs', seed=0, drop=0.3):
    "A generator with batch norm and a critic with dropout"
    torch.manual_seed(seed)
    if kind == 'theirs':
        generator = nn.Sequential(nn.Linear(NOISE, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 16),
                                  nn.Tanh(), nn.Unflatten(1, SHAPE))
        return generator,nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.LeakyReLU(0.2), nn.Dropout(drop),
                                       nn.Linear(12, 1))
    generator = Sequential(Linear(NOISE, 12), BatchNorm(12), ReLU(), Linear(12, 16), Shaped())
    return generator,Sequential(Flat(), Linear(16, 12), ReLU(), Dropout(drop), Linear(12, 1))


def pictures(n=6, size=8, seed=0, short=3):
    "Batches of pictures, the last one short"
    g = torch.Generator().manual_seed(seed)
    return [torch.rand(s, *SHAPE, generator=g) for s in [size]*(n-1) + [short]]


def learner(cbs=(), model=None, train=None, valid=None, gan=None, loss_func=bce, lr=0.01, opt_func=Adam,
            cls=Learner, **kwargs):
    model = model or GAN(*nets())
    train = pictures() if train is None else train
    gan = gan or GANCB(NOISE)
    dls = Dls(train, valid or pictures(2, seed=1))
    return cls(model, dls, loss_func, lr, [gan, *cbs], opt_func, **kwargs)


def values(model): return {k: v.clone() for k,v in model.state_dict().items()}


def same(one, other, **tolerance):
    one,other = (values(m.model if hasattr(m, 'model') else m) for m in (one, other))
    torch.testing.assert_close(one, other, **tolerance)


# ---- by hand -----------------------------------------------------------------------------------------------

def by_hand(generator, critic, batches, make_opt, turns=(1, 1), loss=bce, clip=None, epochs=1, valid=None):
    "What a script of plain PyTorch would hold: an optimizer for each network; the losses of both"
    opt_g,opt_c,losses,done = make_opt(generator.parameters()),make_opt(critic.parameters()),[],0
    for _ in range(epochs):
        generator.train()
        critic.train()
        for x in batches:
            z = torch.randn(len(x), NOISE, dtype=x.dtype)
            if done % sum(turns) < turns[0]:
                fake = generator(z).detach()
                real_scores,fake_scores = critic(x),critic(fake)
                net,opt = critic,opt_c
                l = loss(real_scores, torch.ones(len(x), 1, dtype=x.dtype))
                l = l + loss(fake_scores, torch.zeros(len(x), 1, dtype=x.dtype))
            else:
                net,opt = generator,opt_g
                l = loss(critic(generator(z)), torch.ones(len(x), 1, dtype=x.dtype))
            opt_g.zero_grad()
            opt_c.zero_grad()
            l.backward()
            if clip: nn.utils.clip_grad_norm_(net.parameters(), clip)
            opt.step()
            losses.append((net is critic, l.item(), len(x)))
            done += 1
    return losses


@pytest.mark.parametrize('kind', ['ours', 'theirs'])
@pytest.mark.parametrize('opt', [partial(SGD, momentum=0.9), Adam, partial(AdamW, betas=(0.5, 0.9)),
                                 torch.optim.Adam, partial(torch.optim.SGD, momentum=0.9, weight_decay=0.1)])
def test_equal_to_the_loop_by_hand(kind, opt):
    hand,ours = nets(kind),GAN(*nets(kind))
    for net in hand: net.train()
    torch.manual_seed(3)
    losses = by_hand(*hand, pictures()*3, partial(opt, lr=0.02))
    learn = learner([Quiet(CriticLoss(), GeneratorLoss())], ours, opt_func=opt, lr=0.02)
    torch.manual_seed(3)
    learn.fit(3, valid=False)
    same(GAN(*hand), ours)
    assert [r['epoch'] for r in learn.history] == [0, 1, 2]
    for i,row in enumerate(learn.history):
        for name,is_critic in (('CriticLoss', True), ('GeneratorLoss', False)):
            turns = [(loss, n) for who,loss,n in losses[6*i:6*i+6] if who == is_critic]
            assert row[name] == pytest.approx(sum(l*n for l,n in turns)/sum(n for _,n in turns), rel=1e-4)


@settings(max_examples=15, deadline=None)
@given(turns=st.tuples(st.integers(1, 3), st.integers(1, 3)), seed=st.integers(0, 10**6),
       sizes=st.lists(st.integers(2, 9), min_size=1, max_size=9), double=st.booleans(),
       loss=st.sampled_from([bce, bce_with_logits, F.mse_loss]))
def test_equal_by_hand_whatever_the_turns(turns, seed, sizes, double, loss):
    dtype = torch.float64 if double else torch.float32
    g = torch.Generator().manual_seed(seed)
    data = [torch.rand(n, *SHAPE, generator=g).to(dtype) for n in sizes]
    hand,ours = ([net.to(dtype) for net in nets(seed=seed)] for _ in range(2))
    torch.manual_seed(seed)
    opt = partial(torch.optim.SGD, momentum=0.9)  # Adam makes much of what rounding makes of a gradient of 0
    by_hand(*hand, data, partial(opt, lr=0.05), turns, loss)
    torch.manual_seed(seed)
    gan = GANCB(NOISE, turns)
    learn = learner((), GAN(*ours), data, gan=gan, loss_func=loss, opt_func=opt, lr=0.05)
    learn.fit(1, valid=False)
    same(GAN(*hand), GAN(*ours))


def test_two_steps_a_batch_are_the_same_as_turns_on_every_second_batch():
    data = pictures(8, short=8)
    hand,ours = nets(),GAN(*nets())
    g,c = hand
    torch.manual_seed(0)
    opt_g,opt_c = torch.optim.SGD(g.parameters(), 0.1),torch.optim.SGD(c.parameters(), 0.1)
    for x in data[::2]:
        fake = g(torch.randn(len(x), NOISE)).detach()
        real,drawn = c(x),c(fake)
        (bce(real, torch.ones_like(real)) + bce(drawn, torch.zeros_like(drawn))).backward()
        opt_c.step()
        opt_c.zero_grad()
        scores = c(g(torch.randn(len(x), NOISE)))
        bce(scores, torch.ones_like(scores)).backward()
        opt_g.step()
        opt_g.zero_grad()
        opt_c.zero_grad()
    torch.manual_seed(0)
    learner(model=ours, train=data, opt_func=SGD, lr=0.1).fit(1, valid=False)
    same(GAN(*hand), ours)


def test_only_the_one_whose_turn_it_is_gets_gradients_and_moves():
    seen = []
    class Look(Callback):
        def before_batch(self, learn): self.before = values(learn.model)
        def after_backward(self, learn):
            self.got = {n.split('.')[0] for n,p in learn.model.named_parameters() if p.grad is not None}
        def after_step(self, learn):
            params = dict(learn.model.named_parameters())
            moved = {n.split('.')[0] for n in params if not params[n].equal(self.before[n])}
            seen.append((self.got, moved))
    learner([Look()], gan=GANCB(NOISE, (2, 1))).fit(1, valid=False)
    assert seen == [({who}, {who}) for who in ('critic', 'critic', 'generator')*2]


def test_a_gradient_left_by_somebody_else_is_not_used():
    one,other = learner(),learner()
    for p in other.model.parameters(): p.grad = torch.ones_like(p)
    for learn in one,other:
        torch.manual_seed(0)
        learn.fit(1)
    same(one, other, rtol=0, atol=0)


def test_an_optimizer_that_fills_with_zeros_moves_nobody_out_of_turn():
    class Filling(Adam):
        def zero_grad(self, set_to_none=False): super().zero_grad(set_to_none)
    one,other = learner(),learner(opt_func=Filling)
    for learn in one,other:
        torch.manual_seed(0)
        learn.fit(2)
    same(one, other, rtol=0, atol=0)


def test_the_default_loss_is_that_of_a_least_squares_gan():
    learn = learner(loss_func=F.mse_loss)
    learn.fit(1)
    assert learn.loss.isfinite()


# ---- the rest of the house ---------------------------------------------------------------------------------

def test_clipping_shortens_the_gradient_of_the_one_whose_turn_it_is():
    hand,ours = nets(),GAN(*nets())
    for net in hand: net.train()
    opt = partial(torch.optim.SGD, lr=0.1)
    torch.manual_seed(3)
    by_hand(*hand, pictures(), opt, clip=0.05)
    learn = learner([ClipGradCB(0.05)], ours, opt_func=torch.optim.SGD, lr=0.1)
    torch.manual_seed(3)
    learn.fit(1, valid=False)
    same(GAN(*hand), ours)


def test_accumulation_makes_a_turn_of_several_batches():
    turns = []
    class Look(Callback):
        def after_step(self, learn): turns.append(learn.iter)
        def after_backward(self, learn):
            got = {n.split('.')[0] for n,p in learn.model.named_parameters() if p.grad is not None}
            turns.append(*got)
    learner([Look(), AccumulateCB(2)]).fit(1, valid=False)
    assert turns == ['critic', 'critic', 1, 'generator', 'generator', 3, 'critic', 'critic', 5]


def test_accumulated_turns_are_those_of_large_batches():
    "Of the critic, which without batch norm does not see how a batch is made up"
    noise = torch.randn(16, NOISE)
    class Given(nn.Module):  # a generator that does not care for noise
        def __init__(self):
            super().__init__()
            self.p = nn.Parameter(torch.zeros(1))
        def forward(self, z): return self.p + torch.zeros(len(z), *SHAPE) + noise[0, 0]
    large = pictures(2, size=16, short=16)
    small = [half for x in large for half in x.split(8)]
    learns = [learner([AccumulateCB(n)]*(n > 1), GAN(Given(), nets(drop=0)[1]), data, opt_func=SGD)
              for n,data in ((1, large), (2, small))]
    for learn in learns: learn.fit(1, valid=False)
    same(*learns)


def test_schedules_go_by_turns_and_groups_have_rates_of_their_own():
    model,rates = GAN(*nets()),[]
    class Look(Callback):
        def after_step(self, learn): rates.append([g['lr'] for g in learn.opt.param_groups])
    opt_func = lambda params, lr: Adam(param_groups(model, dict(critic=lr/2, generator=lr)), lr)  # noqa: E731
    cbs = [BatchSchedCB(partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.1)), Look()]
    learner(cbs, model, opt_func=opt_func, lr=1.).fit(1)
    want = [[0.5*f, f] for f in (1., 1., 0.1, 0.1, 0.01, 0.01)]
    torch.testing.assert_close(rates, want)
    learner([OneCycle()]).fit(2)


def make_run(folder, kill_at=None, cbs=()):
    class Kill(Callback):
        order = 200
        n = 0
        def after_batch(self, learn):
            self.n += learn.training
            if self.n == kill_at: raise KeyboardInterrupt
    quiet = Quiet(CriticLoss(), GeneratorLoss())
    checkpoints = CheckpointCB(folder, every_batches=1)
    return learner([Kill(), quiet, checkpoints, *cbs], gan=GANCB(NOISE, (2, 1)), opt_func=torch.optim.Adam)


@pytest.mark.parametrize('kill_at', [1, 4, 6, 10, 17])
def test_a_killed_run_ends_with_the_same_weights_losses_and_pictures(kill_at, tmp_path, capsys):
    whole,killed = make_run(tmp_path/'whole'),make_run(tmp_path/'killed', kill_at)
    torch.manual_seed(5)
    whole.fit(3)
    torch.manual_seed(5)
    with pytest.raises(KeyboardInterrupt): killed.fit(3)
    torch.manual_seed(6)
    again = make_run(tmp_path/'killed')
    again.fit(3, resume=True)
    same(whole, again, rtol=0, atol=0)
    states = [learn.opt.state_dict()['state'] for learn in (whole, again)]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    one,other = ([{k: v for k,v in r.items() if k != 'time'} for r in l.history] for l in (whole, again))
    assert one == other and len(one) == 6
    assert len(whole.gan.pictures) == 3
    torch.testing.assert_close(whole.gan.pictures, again.gan.pictures, rtol=0, atol=0)


def test_saved_and_loaded_with_the_optimizer(tmp_path):
    learn = learner()
    torch.manual_seed(0)
    learn.fit(1)
    learn.save(tmp_path/'gan.pt', with_opt=True)
    other = learner(model=GAN(*nets(seed=1)))
    other.load(tmp_path/'gan.pt', with_opt=True)
    same(learn, other, rtol=0, atol=0)
    for l,kwargs in ((learn, dict(keep_opt=True)), (other, {})):
        torch.manual_seed(1)
        l.fit(1, **kwargs)
    same(learn, other, rtol=0, atol=0)


def valid_noise(i, x, seed=0):
    return torch.randn(len(x), NOISE, generator=torch.Generator().manual_seed(mix(seed, i)))


def test_validation_draws_and_compares_and_leaves_no_trace():
    class Compare:
        def __init__(self): self.seen = []
        def reset(self): pass
        def update(self, drawn, real): self.seen.append((drawn.shape, real.shape, drawn.requires_grad))
        def compute(self): return len(self.seen)
    learn = learner([Quiet(CriticLoss(), GeneratorLoss(), compare=Compare())])
    learn.fit(1)
    before,rng,film = values(learn.model),torch.get_rng_state(),len(learn.gan.pictures)
    found = learn.validate()
    drawn,real = learn.get_preds()
    assert torch.equal(rng, torch.get_rng_state()) and len(learn.gan.pictures) == film
    torch.testing.assert_close(values(learn.model), before, rtol=0, atol=0)
    assert found['loss'] == pytest.approx(found['CriticLoss']) and found['GeneratorLoss'] > 0
    assert torch.equal(real, torch.cat(pictures(2, seed=1))) and drawn.shape == real.shape
    with torch.no_grad():  # what it drew, from the same noise in eval mode
        want = [learn.model.eval().generator(valid_noise(i, x)) for i,x in enumerate(pictures(2, seed=1))]
    torch.testing.assert_close(drawn, torch.cat(want))
    assert learn(torch.zeros(3, NOISE)).shape == (3, *SHAPE)


def test_losses_of_validation_are_means_over_pictures():
    learn = learner([Quiet(CriticLoss(), GeneratorLoss())], GAN(*nets(drop=0)))
    found,total = learn.validate(),torch.zeros(2)
    g,c = learn.model.eval().generator,learn.model.critic
    with torch.no_grad():
        for i,x in enumerate(pictures(2, seed=1)):
            real,drawn = c(x),c(g(valid_noise(i, x)))
            one,zero = torch.ones_like(real),torch.zeros_like(real)
            total += len(x)*torch.stack([bce(real, one) + bce(drawn, zero), bce(drawn, one)])
    torch.testing.assert_close([found['CriticLoss'], found['GeneratorLoss']], (total/11).tolist())


def test_labels_are_left_out():
    train = [(x, torch.zeros(len(x)).long()) for x in pictures()]
    valid = [dict(image=x, label=x[:, 0, 0, 0]) for x in pictures(2, seed=1)]
    plain,labelled = learner(),learner(train=train, valid=valid)
    for learn in plain,labelled:
        torch.manual_seed(0)
        learn.fit(1)
    same(plain, labelled, rtol=0, atol=0)
    assert labelled.get_preds()[1].shape == (11, *SHAPE)


def test_pictures_come_from_the_same_noise_in_eval_mode_and_cost_no_randomness():
    gan,other = GANCB(NOISE, n_pictures=4, seed=7),GANCB(NOISE, n_pictures=1)
    one,two = learner(gan=gan),learner(gan=other)
    for learn in one,two:
        torch.manual_seed(0)
        learn.fit(2)
    same(one, two, rtol=0, atol=0)
    noise = torch.randn(4, NOISE, generator=torch.Generator().manual_seed(7))
    assert len(gan.pictures) == 2 and not gan.pictures[0].equal(gan.pictures[1])
    torch.testing.assert_close(gan.pictures[-1], one(noise), rtol=0, atol=0)
    one.fit(1)
    assert len(gan.pictures) == 3  # the film goes on
    learner(gan=gan).fit(1)
    assert len(gan.pictures) == 1  # another learner's


def test_show():
    import matplotlib.pyplot as plt
    gan = GANCB(NOISE, n_pictures=2)
    with pytest.raises(RuntimeError, match='no pictures yet'): gan.show()
    learner(gan=gan).fit(4)
    for rows in (0, 2.5, 'x'):
        with pytest.raises(ValueError, match='rows must be a whole number'): gan.show(rows)
    for rows,at in ((3, [0, 2, 3]), (20, range(4)), (1, [0])):
        gan.show(rows)
        titles = [ax.get_title() for ax in plt.gcf().axes]
        assert [t for t in titles if t] == [f'epoch {i}' for i in at] and len(titles) == 2*len(at)
        plt.close('all')


def test_a_frozen_part_stays_and_what_is_frozen_whole_is_refused():
    model = GAN(*nets())
    freeze(model.critic[1])
    before = model.critic[1].weight.clone()
    learner(model=model).fit(1)
    assert before.equal(model.critic[1].weight) and not model.critic[1].weight.requires_grad
    freeze(model.critic)
    with pytest.raises(ValueError, match='the critic has no parameter to train'): learner(model=model).fit(1)


def test_a_part_that_is_not_used_is_passed_over():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used,self.idle = nn.Linear(16, 1),nn.Linear(2, 2)
        def forward(self, x): return self.used(x.flatten(1))
    model = GAN(nets()[0], Idle())
    learner(model=model).fit(1)
    assert model.critic.idle.weight.grad is None


def test_it_works_with_those_who_watch_or_average(tmp_path, capsys):
    import matplotlib.pyplot as plt
    import miniai.resnet  # noqa: F401  (it brings summary)
    ema = EMACB(0.5)
    learn = learner([DeviceCB('cpu'), MetricsCB(CriticLoss()), ProgressCB(), ema, NaNStopCB()])
    learn.fit(2)
    assert 'CriticLoss' in capsys.readouterr().out
    ema.use()
    assert learn(torch.zeros(3, NOISE)).isfinite().all()
    learn.show_loop()
    shown = capsys.readouterr().out
    assert 'GANCB' in shown and 'TrainCB' not in shown.replace('GANCB', '')
    learn.summary()
    assert 'Sequential' in capsys.readouterr().out
    learn.fit(1, cbs=SingleBatchCB())
    plt.close('all')


def test_replay_finds_the_bad_batch_in_the_right_turn(capsys):
    data = pictures()
    data[2][0] = float('nan')
    learn = learner([ReplayCB()], train=data)
    torch.manual_seed(0)
    learn.fit(1, valid=False)
    film = len(learn.gan.pictures)
    with pytest.raises(RuntimeError, match='returned nan') as error: learn.replay()
    assert 'batch 2 of epoch 0' in error.value.__notes__[-1]
    assert 'batch 2 of epoch 0' in capsys.readouterr().out
    assert len(learn.gan.pictures) == film


@pytest.mark.parametrize('cls', [Learner, Stranger])
def test_any_learner_will_do(cls):
    torch.manual_seed(0)
    gan = GANCB(NOISE)
    learn = cls(GAN(*nets()), Dls(pictures(), pictures(2, seed=1)), bce, 0.01,
                [gan, Quiet(CriticLoss(), GeneratorLoss())], Adam)
    learn.fit(2)
    reference = learner()
    torch.manual_seed(0)
    nets()
    reference.model = GAN(*nets())
    reference.fit(2)
    same(learn, reference, rtol=0, atol=0)
    assert len(gan.pictures) == 2


def test_a_model_of_ones_own_with_both_networks():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.generator,self.critic = nets()
    one,other = learner(model=Own()),learner()
    for learn in one,other:
        torch.manual_seed(0)
        learn.fit(1)
    same(one, other, rtol=0, atol=0)


def test_a_learner_can_be_copied():
    learn = learner([Quiet(CriticLoss(), GeneratorLoss())])
    learn.fit(1)
    twin = copy.deepcopy(learn)
    rows = []
    for l in learn,twin:
        torch.manual_seed(0)
        l.fit(1)
        rows.append({k: v for k,v in l.history[-1].items() if k != 'time'})
    same(learn, twin, rtol=0, atol=0)
    assert rows[0] == rows[1]


# ---- refused -----------------------------------------------------------------------------------------------

class Late(Callback):
    def predict(self, learn): pass


def swapped():
    generator,critic = nets()
    return GAN(critic, generator)


PLATEAU = EpochSchedCB(partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0))
LAYER = nn.Linear(16, 16)
REFUSED = dict(
    a_model_without_the_two=(dict(model=nets()[0]), TypeError, 'this is a Sequential'),
    swapped=(dict(model=swapped()), ValueError, 'generator and critic are swapped'),
    other_noise=(dict(gan=GANCB(4)), ValueError, r'noise \(8, 4\), for n_noise is 4.*RuntimeError'),
    other_pictures=(dict(train=[torch.rand(8, 1, 5, 5)]), ValueError,
                    r'to make pictures \(8, 1, 5, 5\)\. What came: \(8, 1, 4, 4\)'),
    integer_pictures=(dict(train=[torch.zeros(8, *SHAPE, dtype=torch.uint8)]), TypeError, 'make them float'),
    two_inputs=(dict(train=[dict(a=torch.rand(8, *SHAPE), b=torch.rand(8, 3))]), TypeError,
                'here are 2 inputs'),
    bytes_for_a_tanh=(dict(train=[x*255 for x in pictures()]), ValueError,
                      'ends with tanh and draws from -1 to 1, but the pictures go from .* to 25'),
    below_a_sigmoid=(dict(model=GAN(nn.Sequential(nets()[0], nn.Sigmoid()), nets()[1]),
                          train=[x*2 - 1 for x in pictures()]), ValueError, 'draws from 0 to 1'),
    losses_unreduced=(dict(loss_func=partial(bce, reduction='none')), ValueError, 'needs a loss of scores'),
    shared=(dict(model=GAN(nn.Sequential(LAYER, nn.Unflatten(1, SHAPE)), nn.Sequential(nn.Flatten(), LAYER))),
            ValueError, 'share parameters'),
    many_scores=(dict(model=GAN(nets()[0], nn.Sequential(nn.Flatten(), nn.Linear(16, 10)))), ValueError,
                 r'to make a score of each\. What came: \(8, 10\)'),
    a_critic_of_other_pictures=(dict(model=GAN(nets()[0], nn.Sequential(nn.Flatten(), nn.Linear(25, 1)))),
                                ValueError, 'the critic was given pictures.*RuntimeError'),
    a_sigmoid_too_many=(dict(model=GAN(nets()[0], nn.Sequential(*nets()[1], nn.Sigmoid()))), ValueError,
                        'leave out the sigmoid'),
    no_probabilities=(dict(loss_func=F.binary_cross_entropy), ValueError, 'wants probabilities'),
    cross_entropy=(dict(loss_func=F.cross_entropy), ValueError, 'needs a loss of scores'),
    no_loss=(dict(loss_func=None), ValueError, 'needs a loss of scores'),
    the_models_loss=(dict(loss_func='model'), ValueError, 'needs a loss of scores'),
    another_trainer=(dict(cbs=[TrainCB()]), ValueError, 'GANCB and TrainCB would both train'),
    two_of_them=(dict(cbs=[GANCB(NOISE)]), ValueError, 'GANCB and GANCB would both train'),
    an_action_of_somebody=(dict(cbs=[Late()]), ValueError, 'GANCB and Late would both train'),
    methods=(dict(cls=TrainLearner), TypeError, 'TrainLearner trains by its own methods'),
    momentum=(dict(cls=MomentumLearner, opt_func=Adam), TypeError, 'MomentumLearner'),
    best=(dict(cbs=[Quiet(), SaveBestCB(restore=True)]), ValueError, 'SaveBestCB watches a loss'),
    early=(dict(cbs=[Quiet(CriticLoss()), EarlyStoppingCB('CriticLoss')]), ValueError, 'watches a loss'),
    by_another_name=(dict(cbs=[Quiet(c=CriticLoss()), SaveBestCB(restore=True, monitor='c', mode='min')]),
                     ValueError, "watches a loss"),
    plateau=(dict(cbs=[Quiet(), PLATEAU]), ValueError, 'EpochSchedCB watches a loss'),
    half_an_optimizer=(dict(opt_func=lambda params, lr: Adam([*params][:6], lr)), ValueError,
                       'does not know 4 of the 4 tensors of the critic'))


@pytest.mark.parametrize('name', REFUSED)
def test_refused_before_anything_has_changed(name):
    kwargs,error,text = REFUSED[name]
    learn = learner(**{'loss_func': bce, **kwargs})
    before = copy.deepcopy(values(learn.model))
    with pytest.raises(error, match=text): learn.fit(1)
    torch.testing.assert_close(values(learn.model), before, rtol=0, atol=0)


def test_an_optimizer_without_groups_is_refused():
    class Own:
        def __init__(self, params, lr): self.params = list(params)
        def step(self): pass
        def zero_grad(self): pass
    with pytest.raises(TypeError, match='Own has no param_groups'): learner(opt_func=Own).fit(1)


ARGS = [(0,), ('5',), (5, (1,)), (5, 1), (5, (0, 1)), (5, (1, 1.5)), (5, (1, 1), 0)]


@pytest.mark.parametrize('args', ARGS, ids=repr)
def test_arguments(args):
    with pytest.raises(ValueError): GANCB(*args)


def test_networks_must_be_modules():
    with pytest.raises(TypeError, match='critic must be a module, got <'): GAN(nn.Linear(2, 2), torch.relu)
    with pytest.raises(TypeError, match='generator must be a module'): GAN(nn.Linear, nn.Linear(2, 2))
    with pytest.raises(ValueError, match='To train it, add a GANCB'):
        Learner(GAN(*nets()), (pictures(),), F.mse_loss, 0.1).fit(1)


def test_helpers_that_would_mislead_say_so():
    learn = learner([Quiet()])
    before = values(learn.model)
    with pytest.raises(ValueError, match='lr_find looks for the rate with the lowest loss'): learn.lr_find()
    found = learn.preflight()
    assert not found.ok and repr(found).startswith('✗ preflight asks if a loss can be brought down')
    with pytest.raises(ValueError, match='as_script'): learn.as_script()
    torch.testing.assert_close(values(learn.model), before, rtol=0, atol=0)
    learn.fit(1)
    with pytest.raises(ValueError, match='as_script'): learn.as_script()


def test_what_measures_pictures_may_be_watched():
    def spread(drawn, real): return drawn.std(0).mean()
    learn = learner([Quiet(spread=spread), SaveBestCB(restore=True, monitor='spread', mode='max')])
    learn.fit(2)
    assert learn.history[-1]['spread'] > 0


def test_a_cancelled_batch_is_no_turn():
    class Skip(Callback):
        def after_predict(self, learn):
            from miniai.loop import CancelBatchException
            if learn.training and learn.iter == 1: raise CancelBatchException
    learn = learner([Skip()])
    learn.fit(1)
    assert learn.gan.steps == 5


def test_validation_changes_nothing_and_is_the_same_each_time():
    one,other = learner(),learner()
    for learn,valid in ((one, True), (other, False)):
        torch.manual_seed(0)
        learn.fit(2, valid=valid)
    same(one, other, rtol=0, atol=0)
    torch.manual_seed(8)
    first = one.validate()
    torch.manual_seed(9)
    assert first == one.validate()


def test_turns_go_on_over_the_fits():
    learn,seen = learner(),[]
    for _ in range(4):
        seen.append(learn.gan.turn)
        learn.fit(1, cbs=SingleBatchCB())
    assert seen == ['critic', 'generator']*2
    again = learner(gan=learn.gan)
    again.fit(1, cbs=SingleBatchCB())
    assert learn.gan.turn == 'generator'  # another learner's begin anew
