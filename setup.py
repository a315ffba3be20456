"""Everything is said in setup.cfg; this file lets every version of pip find it."""

from setuptools import setup

setup()
