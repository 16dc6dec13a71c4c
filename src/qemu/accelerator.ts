/** How qemu runs the appliance's instructions. */

export type Accelerator = 'kvm' | 'tcg';

/** What `--accel` and the backend settings request. */
export type AcceleratorChoice = 'auto' | Accelerator;
