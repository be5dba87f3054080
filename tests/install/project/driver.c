// Embedded kernels with the driver alone: where there is no GPU they say so.
#include <own.h>
#include <stdio.h>

int main(void) {
    own_kernels *kernels;
    own_status status = own_open(0, &kernels);
    printf("%s\n", status == OWN_OK ? "a GPU" : own_last_error());
    own_close(kernels);
    return status != OWN_OK && status != OWN_ERROR_UNAVAILABLE;
}
