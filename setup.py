"Builds miniai from settings.ini, the one place for its metadata and requirements."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters='=')
config.read(here/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
extras = {k.removesuffix('_requirements'): v.split() for k,v in cfg.items() if k.endswith('_requirements')}

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=(here/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=cfg['author'],
    author_email=cfg['author_email'],
    url=cfg['git_url'],
    keywords=cfg['keywords'],
    license='Apache-2.0',
    # the lessons travel as miniai/nbs: `miniai lessons` copies them from there, `miniai check` reads them
    packages=[*find_packages(include=['miniai', 'miniai.*']), 'miniai.nbs', 'miniai.nbs.tools'],
    package_dir={'miniai.nbs': 'nbs'},
    package_data={'miniai': ['runs.html'], 'miniai.nbs': ['*.ipynb'], 'miniai.nbs.tools': ['*.ipynb']},
    python_requires='>=' + cfg['min_python'],
    install_requires=cfg['requirements'].split(),
    extras_require=extras,
    entry_points={'console_scripts': cfg['console_scripts'].split(),
                  'nbdev': [f"{cfg['lib_name']}={cfg['lib_path']}._modidx:d"]},
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Education',
                 'Natural Language :: English',
                 'Programming Language :: Python :: 3 :: Only',
                 f"Programming Language :: Python :: {cfg['min_python']}"],
)
