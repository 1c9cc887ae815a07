"Run `nbdev_test` and say what the lessons cost: 20 CPU-seconds each on average."
import resource, signal, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
budget = 20*len([*ROOT.glob('nbs/[0-9]*.ipynb'), *ROOT.glob('nbs/tools/*.ipynb')])
res = subprocess.run([Path(sys.executable).with_name('nbdev_test'), '--timing'], cwd=ROOT)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f'lessons: {used.ru_utime + used.ru_stime:.0f} CPU-seconds of {budget}')
sys.exit(res.returncode)
