"""The service `tag` 2018-08-13: its documented actions that are not served here. The others stand beside this file."""

from drystone.api.actions import Service

_NAMES = """
    AddProject AddResourceTag AttachResourcesTag CreateTags DeleteResourceTag DeleteTags DescribeProjects
    DescribeResourceTags DescribeResourceTagsByResourceIdsSeq DescribeResourceTagsByTagKeys
    DescribeResourcesByTags DescribeResourcesByTagsUnion DescribeTagValuesSeq DescribeTags DescribeTagsSeq
    DetachResourcesTag GetTagKeys GetTagValues ModifyResourcesTagValue UpdateProject UpdateResourceTagValue
"""
NOT_SERVED = frozenset(_NAMES.split())
"""Documented actions that answer UnsupportedOperation, so that a client can tell them from a misspelt name."""

TAG = Service(name="tag", version="2018-08-13", regional=False, not_served=NOT_SERVED)
