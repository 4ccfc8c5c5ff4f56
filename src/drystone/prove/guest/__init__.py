"""What runs in the machine: it opens the clone, its only writable disk. Nothing here is imported by the host.

It has programs of the host's packages and Python's own library; of Drystone only what `appliance.SHIPPED` names.
"""
