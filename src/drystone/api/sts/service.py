"""The service `sts` 2018-08-13: its documented actions that are not served here. The others stand beside this file."""

from drystone.api.actions import Service

_NAMES = """
    AssumeRole AssumeRoleWithSAML AssumeRoleWithWebIdentity GetFederationToken GetSessionToken QueryApiKey
"""
NOT_SERVED = frozenset(_NAMES.split())
"""Documented actions that answer UnsupportedOperation, so that a client can tell them from a misspelt name."""

STS = Service(name="sts", version="2018-08-13", regional=False, not_served=NOT_SERVED)
