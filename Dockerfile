# The workers and the command line. Kafka is the user's own: name it with TIDEWATCH_KAFKA.
#   docker build --tag tidewatch .
#   docker run --env TIDEWATCH_KAFKA=kafka:9092 tidewatch worker --agents checks

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/tidewatch
# dependencies first: the layer lasts until the lock changes
COPY requirements.lock ./
RUN /opt/tidewatch/bin/pip install --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY agents agents
COPY schemas schemas
COPY streams streams
COPY deploy/kafka deploy/kafka
RUN /opt/tidewatch/bin/pip install --no-deps --no-build-isolation --no-index .

FROM python:3.11-slim-bookworm
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
