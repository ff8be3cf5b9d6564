using Sagas;

namespace Orders;

public record Order(string Customer, string Item, int Quantity, int Total, string Address);
public record OrderPlaced(string Parcel);

/// <summary>Goods and money are set aside side by side; the parcel is the point of no return, after which both are taken for good.</summary>
[Saga("place-order", version: 1)]
public sealed class PlaceOrder : Saga<Order, OrderPlaced>
{
    protected override SagaEnd<OrderPlaced> Define(Flow<Order> saga)
    {
        saga.Parallel(
            f => f.Tcc(c => new ReserveGoods(c.Input.Item, c.Input.Quantity)).To("inventory"),
            f => f.Tcc(c => new HoldMoney(c.Input.Customer, c.Input.Total)).To("payment"));
        var parcel = saga.Step(c => new Ship(c.Input.Item, c.Input.Quantity, c.Input.Address)).To("shipping").Pivot();
        return saga.Complete(c => new OrderPlaced(c.Get(parcel).Number));
    }
}
