# The t2c command in Ray's own image, for deploy/kubernetes/index-job.yaml; for GPUs take the tag 2.60.0-py312-gpu.
FROM rayproject/ray:2.60.0-py312

WORKDIR /home/ray/t2c-search
COPY --chown=ray pyproject.toml README.md LICENSE ./
COPY --chown=ray t2c_search ./t2c_search
RUN pip install --no-cache-dir ".[ray]"
WORKDIR /home/ray
