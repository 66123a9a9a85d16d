#!/bin/sh
# What the container does unless it is told something else: serve the app on $PORT.
set -eu
if [ -n "${SPACE_ID:-}" ]; then
    # A Space is shown inside the Hub's page, where browsers withhold the cookie that the check for forged requests
    # compares; uploads would all be refused. Elsewhere the check stays on.
    set -- --server.enableXsrfProtection false
fi
exec streamlit run app/main.py --server.port "${PORT:-8501}" --server.address 0.0.0.0 --server.headless true \
    --server.fileWatcherType none "$@"
