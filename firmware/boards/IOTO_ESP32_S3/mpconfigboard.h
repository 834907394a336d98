#define MICROPY_HW_BOARD_NAME "Generic ESP32-S3 with two update slots"
#define MICROPY_HW_MCU_NAME "ESP32-S3"
#define MICROPY_HW_ENABLE_UART_REPL (1)
