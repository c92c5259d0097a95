"""Methods that approach the quantized set gradually: regularizers, proximal steps, schedules."""
