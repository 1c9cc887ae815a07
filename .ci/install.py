"""What `make` runs first: .venv, with the exact versions of constraints.txt in it.

    python3 .ci/install.py

Written for any Python 3, so that an old one gets a sentence. Two calls at once wait for each other.
"""
import os, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MARK = os.path.join(ROOT, '.venv', '.installed')
NEEDS = 'settings.ini', 'setup.py', 'pyproject.toml', 'constraints.txt'


def is_done():
    "Has all that the installation depends on stayed as it was?"
    changed = [os.path.getmtime(os.path.join(ROOT, name)) for name in NEEDS]
    return os.path.exists(MARK) and max(changed) <= os.path.getmtime(MARK)


def install():
    python = os.path.join(ROOT, '.venv', 'bin', 'python')
    subprocess.check_call([sys.executable, '-m', 'venv', os.path.join(ROOT, '.venv')])
    pip = [python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
    subprocess.check_call(pip + ['-c', 'constraints.txt', '-e', '.[dev,track,accel]'], cwd=ROOT)
    with open(MARK, 'w'): pass
    os.utime(MARK)


def main():
    if sys.version_info[:2] < (3, 11):
        sys.exit('miniai needs Python 3.11 or later; %s is %d.%d. '
                 'Name another one: make PYTHON=python3.11 ...' % ((sys.executable,) + sys.version_info[:2]))
    import fcntl
    with open(os.path.join(ROOT, '.venv.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the second waits here until the first is through
        if is_done(): return
        try: install()
        except subprocess.CalledProcessError as e: sys.exit(e.returncode)


if __name__ == '__main__': main()
