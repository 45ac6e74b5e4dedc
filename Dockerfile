# The environment as `make install` makes it, and all of the pipeline: `docker build -t crossmodalnet . && docker run crossmodalnet`
FROM python:3.11-slim

# git and make run the pipeline; libgomp is what PyTorch and ANTs compute with.
RUN apt-get update && apt-get install -y --no-install-recommends git make libgomp1 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home heart
USER heart
# By hand: some builders give a WORKDIR that they make to root, and `make install` could not write there.
RUN mkdir /home/heart/crossmodalnet
WORKDIR /home/heart/crossmodalnet

# The environment first: a change of the code does not install it anew.
COPY --chown=heart pyproject.toml constraints.txt Makefile README.md LICENSE ./
COPY --chown=heart crossmodalnet crossmodalnet
COPY --chown=heart pipeline pipeline
COPY --chown=heart stages stages
RUN make install

COPY --chown=heart . .
CMD ["make", "repro"]
