"""Training: from prepared pictures (`photo2cartoon prepare-data`) to a checkpoint.

config          what a run is told: YAML and `-o key.sub=value`, checked before anything starts
data            pictures packed as bytes, in an order that the step's number alone decides
augment         what is done to the pictures, in batches, on the device
discriminators  the fast recipe's discriminators
losses          every term of both recipes, as functions of tensors
recipe          what both recipes are made of, and what the loop asks of them
published       U-GAT-IT both ways, as photo2cartoon was trained
fast            one direction, projected discriminators: a style in minutes
fast_batch      what a step of the fast recipe sees
face_id         dlib's face recognition network, for the Face ID term
checkpoint      the whole state of a run in one file
log             metrics to CSV and TensorBoard, grids of samples
loop            steps, checkpoints, signals, time
"""
