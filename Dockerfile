# The sidecar as an image: docker build -t artifact-sidecar .
#
# It runs as user 10001, writes nothing but its index (in memory: /dev/shm, or where SIDECAR_INDEX__DIRECTORY says) and
# so takes a read-only root file system. The data is expected at /data, mounted read-only; the configuration, if any,
# at /etc/sidecar/config.toml. The Python is the one with which everything is tested.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml README.md ./
COPY scanner scanner
COPY web web
RUN python -m venv /opt/sidecar && /opt/sidecar/bin/pip install .

FROM python:3.11-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="artifact-sidecar" \
      org.opencontainers.image.description="Says which images and artifacts of a product-to-video matching pipeline exist on disk and are intact" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11-slim-bookworm"

# An empty volume that is mounted at /data takes its owner over: workers of this image can write there.
RUN groupadd --gid 10001 sidecar \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sidecar \
 && install -d -o 10001 -g 10001 /data \
 && install -d /etc/sidecar

COPY --from=build /opt/sidecar /opt/sidecar
ENV PATH=/opt/sidecar/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /etc/sidecar
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM

# Alive is whoever answers, with or without its database: what is degraded is said in the answer, and by metrics.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('SIDECAR_WEB__PORT', '8080') + '/healthz', timeout=4).read()"]

ENTRYPOINT ["sidecar"]
CMD ["serve"]
