"Run `nbdev_test` and say what the lessons cost: all of them together have 480 CPU-seconds."
import resource, subprocess, sys
from pathlib import Path

BUDGET = 480
res = subprocess.run([Path(sys.executable).with_name('nbdev_test'), '--timing'])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f'lessons: {used.ru_utime + used.ru_stime:.0f} CPU-seconds of {BUDGET}')
sys.exit(res.returncode)
