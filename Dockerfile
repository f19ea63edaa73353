# One image for coordinators, workers and the command line. Every RUN names its program itself: a
# base without a shell does (scripts/base-image makes one where no registry is reached).
ARG BASE_IMAGE=python:3.12-slim

FROM ${BASE_IMAGE} AS build
RUN ["python", "-m", "venv", "/opt/quorate"]
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
# What it needs changes seldom: it is installed first, from its list alone.
COPY scripts/requirements.py scripts/requirements.py
RUN ["/opt/quorate/bin/python", "scripts/requirements.py"]
COPY hatch_build.py ./
COPY cluster cluster
COPY gateway gateway
COPY node node
COPY chaos chaos
RUN ["/opt/quorate/bin/python", "-m", "pip", "install", "--no-cache-dir", "--no-deps", "."]
RUN ["/opt/quorate/bin/python", "-m", "pip", "uninstall", "--yes", "setuptools", "pip"]

FROM ${BASE_IMAGE}
COPY --from=build /opt/quorate /opt/quorate
# Nothing is written where it runs: what it imports is compiled here, once.
RUN ["/opt/quorate/bin/python", "-c", "import node.commands.node, node.commands.worker, chaos.planted_node, chaos.damage, node.handlers"]
# A new volume takes its owner from the directory that it is mounted on.
RUN ["python", "-c", "import os\nfor name in ('/data', '/secret'):\n    os.makedirs(name)\n    os.chown(name, 10001, 10001)"]
ENV PATH=/opt/quorate/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
ENTRYPOINT ["quorate"]
CMD ["--help"]
