"""What operators do with a data folder as a whole: copy it, bring it back, mend it, carry it on.

Every command reads what is there and writes new files beside; `store.swap` puts them in place, all
or none. Nothing that was there is deleted: it goes aside.
"""
