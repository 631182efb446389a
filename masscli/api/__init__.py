"""The Python API: trained models as objects, for programs and for the commands of masscli alike."""
