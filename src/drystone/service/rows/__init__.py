"""Transactions that several rooms share: functions of a connection."""
