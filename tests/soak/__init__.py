"""Long trials of catalogs: kills, losses of power, failing calls, damage, crowds and chaos, each a program of its own.

``python -m soak.NAME``, in tests/, runs a trial until it has done all rounds or the minutes are over; running it again
goes on. ``make soak-NAME`` runs it with the numbers of docs/reliability.md.
"""
