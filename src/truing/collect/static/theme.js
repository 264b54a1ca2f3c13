// Sets the theme a person chose before anything is painted: a classic script in <head>, so that no page flashes in the other.
{
  const chosen = localStorage.getItem("truing.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
}
