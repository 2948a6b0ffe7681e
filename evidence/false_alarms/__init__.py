"""False alarms and missed mistakes of the gauge and of other rules, on random correct networks."""
