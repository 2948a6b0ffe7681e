"""A torch model beside its hand-written twin, made anew from what each step captured."""
