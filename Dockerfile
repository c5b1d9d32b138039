# Turnout in a slim image, as an account without rights. The rules are mounted at /etc/turnout/routing_rules.yaml:
#
#   docker build -t turnout .
#   docker run -p 3307:3307 -p 9307:9307 -v "$PWD/routing_rules.yaml:/etc/turnout/routing_rules.yaml:ro" turnout
#
# In the rules, `listen:` must say 0.0.0.0 instead of 127.0.0.1 to be reached from outside the container.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
RUN python -m venv /opt/turnout && python -m venv /opt/build
COPY deploy/requirements.lock deploy/build.lock ./
RUN /opt/turnout/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r build.lock
COPY pyproject.toml setup.py README.md LICENSE ./
COPY parser ./parser
COPY proxy ./proxy
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/turnout/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl \
    && /opt/turnout/bin/python -m compileall -q /opt/turnout/lib

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin turnout
COPY --from=build /opt/turnout /opt/turnout
ENV PATH=/opt/turnout/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TURNOUT_HEALTH=http://127.0.0.1:9307/healthz
USER turnout
EXPOSE 3307 9307
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['TURNOUT_HEALTH'], timeout=2)"]
ENTRYPOINT ["turnout"]
CMD ["serve", "/etc/turnout/routing_rules.yaml"]
