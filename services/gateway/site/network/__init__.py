"""Pages of the network, for coordinators and auditors."""
