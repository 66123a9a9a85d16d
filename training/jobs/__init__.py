"""Jobs: trainings that outlive the page, the server and the session that started them.

    record        Job and its states
    store         one folder per job on disk, changed under a lock; trash
    progress      what a run has logged so far
    local         the runner on this machine: one trainer at a time, re-attached after any death
    processes     queries to the system: which processes run, what they use, how to end them
    log           a trainer's output, capped
    ending        how a trainer ended, in words
    hub, remote   the runner on Hugging Face Jobs, and what runs in the container there
    slurm         the runner on a SLURM cluster, and what runs on the node there
    places        the three places by name
    fields        a recipe as a list of single values, for a form
    launch        from a recipe and a form's values to a job; unknown values are refused
    estimate      duration and cost
    evaluation, publication   follow-ups of a finished job
    access        password, sessions, lock-out, audit log

Nothing here imports accelerate: trainings are separate processes.
"""
