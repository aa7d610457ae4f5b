# Unit tests of chatctl's parts.
foreach(module histogram probe quantity result report watch plan limit dialect bench_options)
    cn_unit_test(${module} cn_tools cn_wire cn_base m)
endforeach()
