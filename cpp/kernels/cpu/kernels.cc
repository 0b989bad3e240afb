namespace {
const int kPlaceholder = 0;
}
extern const int* const HEADRACE_KERNELS_TABLE;
const int* const HEADRACE_KERNELS_TABLE = &kPlaceholder;
