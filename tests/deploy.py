"""What the deployment files promise one another: names, ports, paths and
variables that stand in several of them. Run by tests/deploy.sh."""

import json
import os
import re
import sys

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
mistakes = []


def check(holds, words):
    if not holds:
        mistakes.append(words)


def path(*parts):
    return os.path.join(ROOT, *parts)


def load(*parts):
    with open(path(*parts), encoding="utf-8") as file:
        return yaml.safe_load(file)


def read(*parts):
    with open(path(*parts), encoding="utf-8") as file:
        return file.read()


# Every variable that a file sets is one that the broker knows.
known = set(re.findall(r'"(WSB_[A-Z_]+)"', "".join(
    read("src", "cli", name) for name in os.listdir(path("src", "cli")) if name.endswith(".rs"))))
for folder, _, files in os.walk(path("deploy")):
    if "secrets" in folder:
        continue
    for name in files:
        text = read(os.path.relpath(os.path.join(folder, name), ROOT))
        for variable in set(re.findall(r"\bWSB_[A-Z_]+\b", text)) - {"WSB_BROKER"}:
            check(variable in known, f"{name} sets {variable}, which the broker does not know")

# Compose.
compose = load("deploy", "compose", "compose.yaml")
services = compose["services"]
check(set(services) == {"broker", "rabbitmq", "prometheus", "alertmanager", "grafana"}, "compose.yaml has other services")
allowed = {"build", "image", "restart", "depends_on", "env_file", "environment", "secrets", "volumes", "ports", "read_only", "cap_drop",
           "security_opt", "pids_limit", "mem_limit", "stop_grace_period", "logging", "hostname", "healthcheck", "command"}
for name, service in services.items():
    check(set(service) <= allowed, f"compose: {name} has keys beside the known ones: {set(service) - allowed}")
    for port in service.get("ports", []):
        check(port.startswith("127.0.0.1:"), f"compose: {name} listens beyond this machine: {port}")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            there = os.path.exists(path("deploy", "compose", source)) or source.startswith("./secrets/")
            check(there, f"compose: {name} mounts {source}, which does not exist")
        else:
            check(source in compose["volumes"], f"compose: {name} mounts the unknown volume {source}")
    for dependency in service.get("depends_on", {}):
        check("healthcheck" in services[dependency], f"compose: {name} waits for {dependency}, which has no health check")
    image = service["image"]
    check(":" in image or "build" in service, f"compose: {name} has an image without a version")
broker = services["broker"]
check(broker["read_only"] is True and broker["cap_drop"] == ["ALL"], "compose: the broker's root is writable, or it has capabilities")
check(services["rabbitmq"]["image"].startswith("rabbitmq:4"), "compose: RabbitMQ is not 4")

# Every file that it is told of is there: a secret, or below something mounted.
FILES = ["WSB_KEY_FILE", "WSB_ADMIN_TOKEN_FILE", "WSB_TOKENS"]
targets = [volume.split(":")[1] for volume in broker["volumes"]]
for variable in FILES:
    file = broker["environment"].get(variable, "")
    folder, name = os.path.split(file)
    there = name in broker["secrets"] and name in compose["secrets"] if folder == "/run/secrets" else folder in targets
    check(there, f"compose: {variable} is {file or 'not set'}, where nothing is mounted")

# Prometheus scrapes what compose runs, under the name that rules ask for.
prometheus = load("deploy", "prometheus", "prometheus.yml")
jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in prometheus["scrape_configs"]}
check(jobs == {"wsb-broker": ["broker:9464"]}, f"prometheus.yml scrapes {jobs}")
mounted = " ".join(services["prometheus"]["volumes"])
for rules in prometheus["rule_files"]:
    check(f"/etc/prometheus/{rules}" in mounted, f"compose does not mount {rules} for Prometheus")
alertmanager = load("deploy", "prometheus", "alertmanager.yml")
receivers = {receiver["name"] for receiver in alertmanager["receivers"]}
used = {alertmanager["route"]["receiver"]} | {route["receiver"] for route in alertmanager["route"]["routes"]}
check(used <= receivers, f"alertmanager.yml routes to unknown receivers: {used - receivers}")
alerts = {rule["alert"] for group in load("deploy", "prometheus", "alerts.yml")["groups"] for rule in group["rules"]}
for rule in alertmanager["inhibit_rules"]:
    # One broker that is down must not silence another.
    check("instance" in rule.get("equal", []), f"alertmanager.yml: {rule['source_matchers']} silences other brokers as well")
    for matcher in rule["source_matchers"] + rule["target_matchers"]:
        for name in re.findall(r"Wsb[A-Za-z]+", matcher):
            check(any(alert.startswith(name) for alert in alerts), f"alertmanager.yml inhibits the unknown alert {name}")

# Grafana finds its dashboards.
provider = load("deploy", "grafana", "provisioning", "dashboards", "wsb.yaml")["providers"][0]
check(f"../../dashboards:{provider['options']['path']}:ro" in services["grafana"]["volumes"], "compose does not mount the dashboards where Grafana looks")
home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
check(os.path.exists(path("dashboards", os.path.basename(home))), f"the home dashboard {home} does not exist")
for name in os.listdir(path("dashboards")):
    check(json.loads(read("dashboards", name))["uid"] == name.removesuffix(".json"), f"{name}: uid and file name differ")

# The unit says where each private key for TLS goes, and what is loaded for it.
unit = read("deploy", "systemd", "wsb-broker.service")
loaded = set(re.findall(r"^#?LoadCredential=([^:]+):", unit, re.M))
for variable in ["WSB_HTTP_CERT", "WSB_HTTP_KEY", "WSB_AMQP_CERT", "WSB_AMQP_KEY"]:
    check(re.search(rf"^#?Environment={variable}=%d/", unit, re.M), f"wsb-broker.service does not say where {variable} goes")
for name in re.findall(r"^#?Environment=WSB_[A-Z_]+=%d/(\S+)", unit, re.M):
    check(name in loaded, f"wsb-broker.service names the credential {name}, which is not loaded")

# Kubernetes.
listed = load("deploy", "kubernetes", "kustomization.yaml")["resources"]
present = {name for name in os.listdir(path("deploy", "kubernetes")) if name.endswith(".yaml")} - {"kustomization.yaml"}
check(set(listed) == present, f"kustomization.yaml lists {sorted(listed)}, there are {sorted(present)}")
stateful = load("deploy", "kubernetes", "statefulset.yaml")
pod = stateful["spec"]["template"]
labels = pod["metadata"]["labels"].items()
selects = {
    "statefulset": stateful["spec"]["selector"]["matchLabels"],
    "service": load("deploy", "kubernetes", "service.yaml")["spec"]["selector"],
    "poddisruptionbudget": load("deploy", "kubernetes", "poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"],
    "networkpolicy": load("deploy", "kubernetes", "networkpolicy.yaml")["spec"]["podSelector"]["matchLabels"],
}
for name, selector in selects.items():
    check(selector and selector.items() <= labels, f"{name}.yaml selects {selector}, the pod has {dict(labels)}")
check(stateful["spec"]["replicas"] == 1, "statefulset.yaml: one process owns the store, there can be one replica only")
container = pod["spec"]["containers"][0]
security = container["securityContext"]
check(security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"] and security["capabilities"]["drop"] == ["ALL"],
      "statefulset.yaml: the container is not locked down")
check(pod["spec"]["securityContext"]["runAsNonRoot"], "statefulset.yaml: the container may run as root")
check(container["livenessProbe"]["httpGet"]["path"] == "/healthz", "statefulset.yaml: liveness must not ask for readiness")
check(container["readinessProbe"]["httpGet"]["path"] == "/readyz", "statefulset.yaml: readiness asks for something else")
mounts = {mount["name"] for mount in container["volumeMounts"]}
volumes = {volume["name"] for volume in pod["spec"]["volumes"]} | {claim["metadata"]["name"] for claim in stateful["spec"]["volumeClaimTemplates"]}
check(mounts == volumes, f"statefulset.yaml mounts {mounts}, and has {volumes}")
volume_of = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
secrets = {volume["name"]: volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume}
settings = {entry["name"]: entry.get("value", "") for entry in container["env"]}
for variable in FILES:
    folder, name = os.path.split(settings.get(variable, ""))
    secret = secrets.get(volume_of.get(folder), {"items": []})
    check(name in [item["path"] for item in secret["items"]], f"statefulset.yaml: {variable} is in no secret")
# How the secrets are made, the kustomization says.
how = read("deploy", "kubernetes", "kustomization.yaml").replace("\\\n#", "")
for secret in secrets.values():
    made = [line for line in how.splitlines() if f"create secret generic {secret['secretName']} " in line]
    for item in secret["items"]:
        check(any(f"--from-file={item['key']}" in line for line in made), f"kustomization.yaml does not say how {secret['secretName']} gets {item['key']}")
service = load("deploy", "kubernetes", "service.yaml")
monitor = load("deploy", "kubernetes", "servicemonitor.yaml")
check(monitor["apiVersion"] == "monitoring.coreos.com/v1" and monitor["kind"] == "ServiceMonitor", "servicemonitor.yaml is something else")
check(monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items(), "servicemonitor.yaml selects no service")
check({endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= {port["name"] for port in service["spec"]["ports"]},
      "servicemonitor.yaml asks at a port that the service does not have")

# The Dockerfile, as far as it can be read.
steps = [line for line in re.sub(r"\\\n", " ", read("deploy", "Dockerfile")).splitlines() if line and not line.startswith("#")]
words = [line.split()[0] for line in steps]
check(words.count("FROM") == 2, "Dockerfile: not two stages")
final = steps[len(words) - 1 - words[::-1].index("FROM"):]
users = [line.split()[1] for line in final if line.startswith("USER")]
check(users and users[-1] == "65532:65532", "Dockerfile: the final image does not run as user 65532")
check(any(line.startswith("HEALTHCHECK") and '"health"' in line for line in final), "Dockerfile: no health check")
check(not any(line.startswith("RUN") for line in final), "Dockerfile: the final image has no shell to RUN with")
check(all(re.search(r":[a-z0-9.-]+", line) for line in steps if line.startswith("FROM")), "Dockerfile: an image without a version")
version = re.search(r'rust-version = "([0-9.]+)"', read("Cargo.toml")).group(1)
used = re.search(r"FROM rust:([0-9]+\.[0-9]+)", read("deploy", "Dockerfile")).group(1)
check([int(part) for part in used.split(".")] >= [int(part) for part in version.split(".")[:2]], f"Dockerfile builds with Rust {used}, Cargo.toml wants {version}")
for line in steps:
    for source in (line.split()[1:-1] if line.startswith("COPY") and "--from" not in line else []):
        check("[" in source or os.path.exists(path(source)), f"Dockerfile copies {source}, which does not exist")

# What the program is made of beside src goes into the image's build, whoever adds to it.
copied = {source for line in steps if line.startswith("COPY") and "--from" not in line for source in line.split()[1:-1]}
sent = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
for folder, _, files in os.walk(path("src")):
    for name in files:
        if not name.endswith(".rs") or "test" in name or "/tests" in folder:
            continue
        code = read(os.path.relpath(os.path.join(folder, name), ROOT)).split("#[cfg(test)]\nmod tests {")[0]
        for source in re.findall(r'include_(?:str|bytes)!\("((?:\.\./)+[^"]+)"\)', code):
            needed = os.path.relpath(os.path.join(folder, source), ROOT)
            if not needed.startswith("src"):
                check(needed in {source.replace("tom[l]", "toml") for source in copied}, f"Dockerfile does not copy {needed}, which {name} includes")
                check(needed in sent, f".dockerignore keeps {needed} from the build, which {name} includes")

for mistake in mistakes:
    print(mistake, file=sys.stderr)
sys.exit(bool(mistakes))
