// The mesh of the comparison: the services and calls of the example. It is not counted.
mesh boutique {
    graph "../../../examples/online-boutique/boutique.graph.yaml";
    dataplanes ebpf, envoy;
}
