"""Jobs: trainings that outlive the page, the server and the person who started them.

    record        Job and its states
    store         one folder per job on disk, changed under a lock; trash
    progress      what a run has written down so far
    local         the runner on this machine: one trainer at a time, re-attached after any death
    hub           the runner on Hugging Face Jobs
    launch        from a recipe and a form's values to a job; nothing unknown passes
    estimate      how long and how much
    access        who may: password, sessions, lock-out, audit log

Nothing in here imports accelerate: trainings are processes of their own.
"""
