"""Makes Debian 12's azure-cli usable; found by PYTHONPATH, so that what is installed stays as it is.

That build of az 2.45 asks its compute library for API version 2022-11-01, which the library that Debian ships beside it
does not have: every command that looks up a virtual machine dies before it sends a request. Where the version is
missing, az is told to use the newest one that is there. Any other az is left alone.
"""
import importlib.abc
import importlib.util
import sys

PROFILES = "azure.cli.core.profiles._shared"
ASKED, THERE = "2022-11-01", "2022-08-01"


def use_version_that_is_there(profiles):
    if importlib.util.find_spec("azure.mgmt.compute.v2022_11_01") is not None:
        return
    versions = profiles.AZURE_API_PROFILES["latest"][profiles.ResourceType.MGMT_COMPUTE].profile
    for resource, version in list(versions.items()):
        if version == ASKED:
            versions[resource] = THERE


class AfterProfiles(importlib.abc.MetaPathFinder):
    """Steps in once, when the module with the versions is loaded."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != PROFILES:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            use_version_that_is_there(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, AfterProfiles())
