# The workers and the command line. Kafka is the user's own: name it with TIDEWATCH_KAFKA.
#   docker build --tag tidewatch .
#   docker run --env TIDEWATCH_KAFKA=kafka:9092 tidewatch worker --agents checks

# the tag's index for all platforms in October 2026; the digest decides, not the tag
# (`docker buildx imagetools inspect python:3.11-slim-bookworm` shows what the tag is now)
FROM python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS base

FROM base AS build
ENV PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1
WORKDIR /build
# dependencies first: the layer lasts until the lock changes
COPY locks/installer.py locks/installer.lock locks/
COPY requirements.lock ./
RUN python locks/installer.py --installer /opt/installer install --compile /opt/tidewatch requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY agents agents
COPY schemas schemas
COPY streams streams
COPY deploy/kafka deploy/kafka
RUN python locks/installer.py --installer /opt/installer install --compile /opt/tidewatch requirements.lock --project .

FROM base
RUN groupadd --gid 10001 tidewatch \
 && useradd --uid 10001 --gid tidewatch --no-create-home --shell /usr/sbin/nologin tidewatch \
 && install --directory --owner tidewatch --group tidewatch /var/lib/tidewatch
COPY --from=build /opt/tidewatch /opt/tidewatch
ENV PATH=/opt/tidewatch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TIDEWATCH_STATE_DIR=/var/lib/tidewatch \
    TIDEWATCH_HTTP_HOST=0.0.0.0 \
    TIDEWATCH_HTTP_PORT=8080
USER tidewatch
WORKDIR /var/lib/tidewatch
VOLUME /var/lib/tidewatch
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["tidewatch"]
CMD ["worker"]
