# The Streamlit app as a container or a Docker Space (`sdk: docker`, `app_port: 8501`); the same image runs training.
#   docker build -t sim2street .                                              CPU
#   docker build -t sim2street --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .    CUDA
#   docker run -p 8501:8501 sim2street
#   docker run -v "$PWD/runs:/home/user/app/runs" sim2street sim2street train demo_source_only_game
#   docker run -e HF_TOKEN sim2street sim2street train demo_source_only_game --publish OWNER/NAME
FROM python:3.12-slim

# Spaces run containers as user 1000, so this image always does.
RUN useradd --create-home --uid 1000 user
USER 1000
ENV HOME=/home/user PATH=/home/user/.local/bin:$PATH PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PORT=8501
# Created by the user: WORKDIR would create it as root, and the editable install could not write into it.
RUN mkdir -p /home/user/app
WORKDIR /home/user/app

# torch first and separately: it is by far the largest layer, and the one that changes least.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# hadolint ignore=DL3013  # pyproject.toml sets the versions; the index sets the hardware
RUN pip install --user torch torchvision --index-url "$TORCH_INDEX"

# Then the project's dependencies, which change less often than the project.
COPY --chown=1000 pyproject.toml ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        extras = project['optional-dependencies']; \
        print(*project['dependencies'], *extras['app'], *extras['train'], sep='\n')" > /tmp/needed.txt \
    && pip install --user -r /tmp/needed.txt

COPY --chown=1000 setup.py README.md LICENSE Spacefile ./
COPY --chown=1000 sim2street sim2street
COPY --chown=1000 models models
COPY --chown=1000 training training
COPY --chown=1000 app app
RUN pip install --user --no-deps -e .

EXPOSE 8501
HEALTHCHECK --interval=30s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/_stcore/health')"]
CMD ["sh", "app/container.sh"]
