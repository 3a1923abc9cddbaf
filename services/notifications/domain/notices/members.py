"""Notices about member organisations, their accounts, and the channels of their notices."""

from chassis.languages import N_
from services.notifications.domain.notices.notice import Notice, Party

NOTICES: tuple[Notice, ...] = (
    Notice(
        "message_undeliverable",
        "",
        (),
        N_("Un aviso no llegó por ningún medio: llame por teléfono."),
    ),
    Notice(
        "webhook_disabled",
        "",
        (),
        N_(
            "Su sistema no respondió en tres días; ya no le enviamos avisos. Cuando responda,"
            " enciéndalo en Sistemas."
        ),
    ),
    Notice(
        "organization_applied",
        "",
        (Party.COORDINATION_ALONE,),
        N_("Hay organizaciones que piden entrar a la red: mire sus pedidos."),
        fact="organization.applied",
    ),
    Notice(
        "organization_registered",
        "",
        (Party.COORDINATION_ALONE,),
        N_(
            "Alguien de la coordinación inscribió a una organización, en período de prueba: miren"
            " si es quien dice ser."
        ),
        fact="organization.registered",
    ),
    Notice(
        "approval_proposed",
        "",
        (Party.COORDINATION_ALONE,),
        N_("Proponen aprobar a una organización: hace falta otra persona de la coordinación."),
        fact="organization.approval_proposed",
    ),
    Notice(
        "agreement_ending",
        "",
        (Party.COORDINATION,),
        N_("Un convenio con la red termina pronto: hay que firmar otro y anotarlo antes."),
        fact="organization.agreement_ending",
    ),
    Notice(
        "agreement_expired",
        "",
        (Party.COORDINATION,),
        N_("Un convenio con la red terminó: la organización está otra vez en período de prueba."),
        fact="organization.agreement_expired",
    ),
    Notice(
        "organization_renamed",
        "",
        (Party.COORDINATION,),
        N_(
            "Una organización miembro cambió de nombre: la coordinación comprueba si sigue siendo"
            " quien dice ser."
        ),
        fact="organization.renamed",
    ),
    Notice(
        "suspension_proposed",
        "",
        (Party.COORDINATION_PER_FACT,),
        N_(
            "Proponen suspender a una organización: hace falta otra persona de la coordinación, de"
            " otra organización."
        ),
        fact="organization.suspension_proposed",
    ),
    Notice(
        "hold_begun",
        "",
        (Party.COORDINATION_PER_FACT,),
        N_(
            "Una persona de la coordinación detuvo a una organización por un día:"
            " si otra no lo confirma, vuelve a entrar."
        ),
        fact="organization.held",
    ),
    Notice(
        "hold_ended",
        "",
        (Party.COORDINATION_PER_FACT,),
        N_("Nadie más confirmó en un día: la organización que se detuvo entra otra vez."),
        fact="organization.hold_ended",
    ),
    Notice(
        "reinstatement_proposed",
        "",
        (Party.COORDINATION_PER_FACT,),
        N_(
            "Proponen levantar una suspensión: hace falta otra persona de la coordinación, de otra"
            " organización."
        ),
        fact="organization.reinstatement_proposed",
    ),
    Notice(
        "leaving_proposed",
        "",
        (Party.COORDINATION_PER_FACT,),
        N_(
            "Proponen anotar que una organización se retira para siempre:"
            " hace falta otra persona de la coordinación, de otra organización."
        ),
        fact="organization.leaving_proposed",
    ),
    Notice(
        "organization_left",
        "",
        (Party.COORDINATION_PER_FACT,),
        N_(
            "Una organización se retiró de la red para siempre: llámenla para saber si lo quiso, y"
            " miren lo que dejó en curso."
        ),
        fact="organization.left",
    ),
    Notice(
        "publication_made",
        "",
        (Party.COORDINATION_PER_FACT,),
        N_(
            "Alguien de la coordinación publicó una ruta de ayuda, una tarjeta de qué decir o los"
            " plazos de la red. Si la coordinación no quiso eso, corríjanlo ya."
        ),
        fact="publication.made",
    ),
    Notice(
        "manager_invited",
        "",
        (),
        N_(
            "La coordinación invitó a quien dirigirá su organización en Enlace."
            " Si no lo esperaban, llamen a la coordinación."
        ),
    ),
    Notice(
        "worker_invited",
        "",
        (),
        N_("Alguien de su organización invitó a una persona a abrir una cuenta."),
    ),
    Notice(
        "account_opened",
        "",
        (),
        N_("Una persona invitada abrió su cuenta en su organización."),
    ),
    Notice(
        "password_reset_asked",
        "",
        (),
        N_(
            "Alguien pidió cambiar la contraseña de su cuenta; el enlace se envió a su correo."
            " Si no fue usted, no haga nada."
        ),
    ),
    Notice(
        "password_changed",
        "",
        (),
        N_(
            "Cambió la contraseña de su cuenta. Si no fue usted, avise ya a quien dirige su"
            " organización."
        ),
    ),
    Notice(
        "second_factor_removed",
        "",
        (),
        N_(
            "Quien dirige su organización quitó su código y sus llaves de acceso."
            " Si no lo pidió, cambie ya su contraseña y llame a la coordinación."
        ),
    ),
    Notice(
        "second_factor_removed_by_coordination",
        "",
        (),
        N_(
            "La coordinación quitó su código y sus llaves de acceso."
            " Si no lo pidió, cambie ya su contraseña y llámela."
        ),
    ),
    Notice(
        "provider_proposed",
        "",
        (),
        N_(
            "La coordinación propone que su gente entre por otra dirección."
            " Si su organización no lo pidió, objételo en los tres días que siguen."
        ),
    ),
    Notice(
        "entry_proposed",
        "",
        (),
        N_(
            "La coordinación propone cambiar el tipo, el país o el número público de su"
            " organización. Si no es correcto, llámela antes de que lo confirmen."
        ),
    ),
    Notice(
        "entry_changed",
        "",
        (),
        N_(
            "La coordinación cambió o quitó datos de su organización, de un servicio o de un lugar,"
            " o revocó una clave. Si no es correcto, corríjalo y llámela."
        ),
    ),
    Notice(
        "worker_suspended",
        "",
        (Party.COORDINATION_FOR_LONE_MANAGER,),
        N_(
            "En una organización que dirige una sola persona, o nadie, se suspendió una cuenta:"
            " llámenla para saber si lo quiso."
        ),
        fact="worker.suspended",
    ),
    # The notices of LASTING_VERBS (domain/rules.py), from here to `account_suspended`, are security
    # notices: the recipients are asked to undo the change if none of them wanted it.
    Notice(
        "key_made",
        "",
        (),
        N_(
            "Una cuenta de su organización hizo, confirmó o tomó una clave de sistema."
            " Si nadie de ustedes quiso eso, revóquela ya."
        ),
    ),
    Notice(
        "person_invited",
        "",
        (),
        N_(
            "Una cuenta de su organización invitó a alguien a abrir una cuenta."
            " Si nadie de ustedes quiso eso, retire la invitación ya."
        ),
    ),
    Notice(
        "role_given",
        "",
        (),
        N_(
            "Se invitó a alguien a una tarea de la red, o se confirmó."
            " Si la coordinación no quiso eso, retírelo ya."
        ),
    ),
    Notice(
        "provider_changed",
        "",
        (),
        N_(
            "Se propuso, se confirmó o se quitó la dirección por la que una organización entra a"
            " Enlace. Si nadie quiso eso, avise a la coordinación por teléfono."
        ),
    ),
    Notice(
        "sign_in_changed",
        "",
        (),
        N_(
            "Una cuenta de su organización puso o quitó un código o una llave de acceso, para sí"
            " o para otra cuenta. Si no fue quien la usa, suspéndala y avise a esa persona."
        ),
    ),
    Notice(
        "account_suspended",
        "",
        (),
        N_(
            "Se suspendió una cuenta de su organización. Si nadie de ustedes quiso eso, llame ya a"
            " la coordinación."
        ),
    ),
    Notice(
        "sending_changed",
        "",
        (),
        N_(
            "Cambió adónde van los avisos de su organización: el correo o un sistema."
            " Si nadie de ustedes quiso eso, mírelo ya."
        ),
    ),
    Notice(
        "member_held",
        "",
        (),
        N_("La coordinación detuvo el acceso de su organización por un día. Llámela."),
    ),
    Notice(
        "member_suspended",
        "",
        (),
        N_("La coordinación suspendió a su organización: así lo decidieron dos personas. Llámela."),
    ),
    Notice(
        "member_reinstated",
        "",
        (),
        N_("Su organización entra otra vez: mire lo que quedó esperando."),
    ),
    Notice(
        "member_left",
        "",
        (),
        N_(
            "Su organización se retiró de la red para siempre. Si nadie de ustedes lo quiso, llame"
            " ya a la coordinación."
        ),
    ),
)
