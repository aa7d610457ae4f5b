# Unit tests of chatctl's parts.
foreach(module histogram probe quantity result report)
    cn_unit_test(${module} cn_tools cn_wire cn_base m)
endforeach()
