/** How qemu runs the appliance's instructions. */

export type Accelerator = 'kvm' | 'tcg';

/** What `--accel` and the backend settings ask for. */
export type AcceleratorChoice = 'auto' | Accelerator;
