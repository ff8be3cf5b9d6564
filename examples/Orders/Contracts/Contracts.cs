using Sagas;

namespace Orders;

// What the services take and answer: all that they and the engine need to agree on.

public record ReserveGoods(string Item, int Quantity) : ITryCommand<ReserveGoods, Held>;
public record HoldMoney(string Customer, int Amount) : ITryCommand<HoldMoney, Held>;
public record Held(string Thing, int Left);

public record Ship(string Item, int Quantity, string Address) : ICommand<Ship, Parcel>;
public record Parcel(string Number);
