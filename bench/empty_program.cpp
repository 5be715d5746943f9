// The least that can be spawned; see process_bench.cpp.
int main() { return 0; }
