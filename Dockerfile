# The service: what requirements.lock names, by hash, and the wheel; it runs as a user of its own and writes to its home only.
FROM python:3.11-slim AS build
WORKDIR /src
# The build back end comes from the lock too, hence the longer one beside: this stage is thrown away.
COPY requirements.lock requirements-dev.lock ./
RUN python -m venv /opt/casebridge \
 && /opt/casebridge/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock \
 && pip install --no-cache-dir --no-deps --require-hashes -r requirements-dev.lock
COPY pyproject.toml README.md LICENSE NOTICE CHANGELOG.md ./
COPY mappings mappings
COPY service service
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/casebridge/bin/pip install --no-cache-dir --no-deps dist/*.whl

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin casebridge \
 && install -d -o casebridge -g casebridge -m 700 /var/lib/casebridge
COPY --from=build /opt/casebridge /opt/casebridge
ENV PATH=/opt/casebridge/bin:$PATH PYTHONUNBUFFERED=1 CASEBRIDGE_HOME=/var/lib/casebridge
USER 10001
VOLUME /var/lib/casebridge
EXPOSE 8000
ENTRYPOINT ["casebridge"]
CMD ["serve", "--host", "0.0.0.0"]
