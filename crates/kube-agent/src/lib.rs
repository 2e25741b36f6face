//! The node: it watches any Kubernetes API and turns pods, Services and EndpointSlices into commands of the model.
//!
//! It never knows whether the server is linkspan's own or a real kube-apiserver: all it has is a client. Nothing is chosen here that
//! `model::decide` chooses, and nothing touches the kernel.
#![forbid(unsafe_code)]
