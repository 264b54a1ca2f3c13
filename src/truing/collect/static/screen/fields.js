// A task's fields, as a plain object by name: what a draft keeps, and what an answer is read from.

export function read(form) {
  const fields = {};
  for (const control of form.elements) {
    if (!control.name) continue;
    if (control.type === "checkbox") {
      if (control.checked) (fields[control.name] ??= []).push(control.value);
    } else if (control.type === "radio") {
      if (control.checked) fields[control.name] = control.value;
    } else if (control.value) fields[control.name] = control.value;
  }
  return fields;
}

export function write(form, fields) {
  for (const control of form.elements) {
    const value = fields[control.name];
    if (!control.name) continue;
    if (control.type === "checkbox") control.checked = value?.includes(control.value) ?? false;
    else if (control.type === "radio") control.checked = value === control.value;
    else control.value = value ?? "";
  }
}
