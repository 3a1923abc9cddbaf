"""Pages of the network: coordinators and auditors."""
