"""Jobs: trainings that outlive the page, the server and the person who started them.

    record        Job and its states
    store         one folder per job on disk, changed under a lock; trash
    progress      what a run has written down so far
    local         the runner on this machine: one trainer at a time, re-attached after any death
    processes     what it asks of the system: who lives, what they use, how they are ended
    log           what a trainer prints, capped
    ending        how it ended, in words
    hub, remote   the runner on Hugging Face Jobs, and what runs in the container there
    fields        a recipe as a list of single values, for a form
    launch        from a recipe and a form's values to a job; nothing unknown passes
    estimate      how long and how much
    evaluation, publication   what can be done with a finished job
    access        who may: password, sessions, lock-out, audit log

Nothing in here imports accelerate: trainings are processes of their own.
"""
